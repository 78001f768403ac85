// SPDX-License-Identifier: GPL-2.0

//! The device /dev/ksm and its areas (`shims/device.h`).

use core::pin::Pin;

use kernel::{
    error::{from_result, to_result},
    ffi::{c_int, c_long, c_uint, c_ulong, c_void},
    prelude::*,
    types::ForeignOwnable,
};

use super::{assert_prototypes, bindings};
use crate::faces::{
    device::{self, Area},
    ioctl,
};

/// Creates /dev/ksm. May sleep.
pub(crate) fn register() -> Result {
    // SAFETY: The module's init has made everything that a request needs.
    to_result(unsafe { bindings::swapksm_device_register() })
}

/// Removes /dev/ksm, which must exist. Files already open stay usable. May sleep.
pub(crate) fn deregister() {
    // SAFETY: The device was registered.
    unsafe { bindings::swapksm_device_deregister() }
}

/// Gives the caller a file descriptor for `area`: its number, or `EMFILE`, `ENFILE`, `ENOMEM`. May sleep.
pub(crate) fn open_area(area: Pin<KBox<Area>>) -> Result<c_int> {
    let area = area.into_foreign();
    // SAFETY: `area` lives until `swapksm_area_release`, or until the next statement but one if there is no file.
    let fd = unsafe { bindings::swapksm_area_open(area) };
    if fd < 0 {
        // SAFETY: No file took the area over.
        drop(unsafe { <Pin<KBox<Area>>>::from_foreign(area) });
        return Err(Error::from_errno(fd));
    }
    Ok(fd)
}

/// May the caller steer the scanner of the whole machine (`CAP_SYS_ADMIN`)?
pub(crate) fn may_control() -> bool {
    // SAFETY: Callable from any process context.
    unsafe { bindings::swapksm_may_control() }
}

/// A request to /dev/ksm.
///
/// # Safety
///
/// None of its own: `arg` is a number or an address of the caller's, used as such only.
#[no_mangle]
unsafe extern "C" fn swapksm_device_ioctl(cmd: c_uint, arg: c_ulong) -> c_long {
    from_result(|| device::request(cmd, arg).map(|value| value as c_long))
}

/// A request to an area.
///
/// # Safety
///
/// `area` is the one a file got in [`open_area`] and has not released.
#[no_mangle]
unsafe extern "C" fn swapksm_area_ioctl(area: *mut c_void, cmd: c_uint, arg: c_ulong) -> c_long {
    // SAFETY: The file holds the area from `open_area` until its release, which no request outlives.
    let area = unsafe { <Pin<KBox<Area>>>::borrow(area) };
    from_result(|| device::area_request(&area, cmd, arg).map(|()| 0 as c_long))
}

/// The end of an area's file.
///
/// # Safety
///
/// `area` is the one the file got in [`open_area`]; the file gives it up.
#[no_mangle]
unsafe extern "C" fn swapksm_area_release(area: *mut c_void) {
    // SAFETY: The file gives up the area it got in `open_area`, once.
    let area = unsafe { <Pin<KBox<Area>>>::from_foreign(area) };
    device::close_area(&area);
}

assert_prototypes!(
    swapksm_device_ioctl,
    swapksm_area_ioctl,
    swapksm_area_release,
);

/// The numbers are those of the header for programs.
macro_rules! assert_numbers {
    ($($rust:ident == $c:ident,)+) => {
        $(const _: () = assert!(ioctl::$rust == bindings::$c as u32);)+
    };
}

assert_numbers!(
    GET_API_VERSION == swapksm_uapi_SWAPKSM_GET_API_VERSION,
    CREATE_SHARED_MEMORY_AREA == swapksm_uapi_SWAPKSM_CREATE_SHARED_MEMORY_AREA,
    START_STOP_KTHREAD == swapksm_uapi_SWAPKSM_START_STOP_KTHREAD,
    GET_INFO_KTHREAD == swapksm_uapi_SWAPKSM_GET_INFO_KTHREAD,
    REGISTER_MEMORY_REGION == swapksm_uapi_SWAPKSM_REGISTER_MEMORY_REGION,
    REMOVE_MEMORY_REGION == swapksm_uapi_SWAPKSM_REMOVE_MEMORY_REGION,
    API_VERSION == swapksm_uapi_SWAPKSM_API_VERSION,
    FLAG_RUN == swapksm_uapi_SWAPKSM_FLAG_RUN,
);
