// SPDX-License-Identifier: GPL-2.0
/*
 * Wakes a machine that sleeps with its clocks running: suspend to idle has no other end where no device can wake it. From
 * loading on, again and again, so that it does not matter how long falling asleep takes.
 */
#include <linux/module.h>
#include <linux/suspend.h>
#include <linux/timer.h>

static unsigned int after_ms = 5000;
module_param(after_ms, uint, 0);
MODULE_PARM_DESC(after_ms, "milliseconds from one call to the next");

static struct timer_list timer;

static void wake(struct timer_list *unused)
{
	pm_system_wakeup();
	mod_timer(&timer, jiffies + msecs_to_jiffies(after_ms));
}

static int __init wake_init(void)
{
	timer_setup(&timer, wake, 0);
	mod_timer(&timer, jiffies + msecs_to_jiffies(after_ms));
	return 0;
}

static void __exit wake_exit(void)
{
	timer_shutdown_sync(&timer);
}

module_init(wake_init);
module_exit(wake_exit);
MODULE_DESCRIPTION("Wakes the machine, for swapksm's tests");
MODULE_LICENSE("GPL");
