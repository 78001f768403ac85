// SPDX-License-Identifier: GPL-2.0
/* Shims read the memory management's own header: it must compile out of tree. */
#include <linux/mm.h>
#include "mm/internal.h"

unsigned long trial_reads_internal_header(struct folio *folio);

unsigned long trial_reads_internal_header(struct folio *folio)
{
	return folio_nr_pages(folio);
}
