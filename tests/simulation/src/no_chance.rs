//! The order in which a hash map is walked is chance too: it comes from the system. In this program the system gives the
//! same bytes to everybody, each time.

use std::ffi::{c_uint, c_void};

/// Stands in for the system's own, which it hides from everything that is linked into this program.
///
/// # Safety
/// `bytes` must point to `count` bytes that may be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(bytes: *mut c_void, count: usize, _flags: c_uint) -> isize {
    // SAFETY: the caller says so.
    unsafe { std::ptr::write_bytes(bytes.cast::<u8>(), 0x5a, count) };
    isize::try_from(count).unwrap_or(isize::MAX)
}
