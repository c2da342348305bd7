// SPDX-License-Identifier: LGPL-2.1-or-later
//! Errors, and strings on their way to C and back.

use libsafestart_sys as sys;
use std::ffi::{CStr, CString};
use std::fmt;
use std::os::raw::{c_char, c_int};

/// An error of the library, in its own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    errno: i32,
    message: String,
}

/// What `prepare` and `restart` may fail with: any error, or words (`"no route".into()`).
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl Error {
    pub(crate) fn new(errno: i32, message: impl Into<String>) -> Self {
        Error { errno, message: message.into() }
    }

    /// As in `<errno.h>`, positive.
    pub fn errno(&self) -> i32 {
        self.errno
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        let kind = std::io::Error::from_raw_os_error(error.errno).kind();
        std::io::Error::new(kind, error)
    }
}

/// Without words the library's text of the number is used.
pub(crate) fn check(result: c_int, why: Option<&Words>) -> Result<c_int, Error> {
    if result >= 0 {
        return Ok(result);
    }
    let words = why.map(Words::text).filter(|words| !words.is_empty());
    let words = words.unwrap_or_else(|| unsafe { copied(sys::safestart_strerror(result)) });
    Err(Error::new(-result, words))
}

/// A buffer for an explanation.
pub(crate) struct Words([c_char; 512]);

impl Words {
    pub(crate) fn new() -> Self {
        Words([0; 512])
    }

    pub(crate) fn buffer(&mut self) -> (*mut c_char, usize) {
        (self.0.as_mut_ptr(), self.0.len())
    }

    pub(crate) fn text(&self) -> String {
        unsafe { copied(self.0.as_ptr()) }
    }
}

/// # Safety
/// `text` ends in a NUL byte.
pub(crate) unsafe fn copied(text: *const c_char) -> String {
    CStr::from_ptr(text).to_string_lossy().into_owned()
}

/// Takes a string that the library allocated.
///
/// # Safety
/// `text` is one, or NULL.
pub(crate) unsafe fn taken(text: *mut c_char) -> Result<String, Error> {
    if text.is_null() {
        return Err(Error::new(libc::ENOMEM, "out of memory"));
    }
    let string = copied(text);
    sys::safestart_free(text.cast());
    Ok(string)
}

/// What C would cut is refused.
pub(crate) fn c_string(text: &str) -> Result<CString, Error> {
    CString::new(text).map_err(|_| Error::new(libc::EINVAL, "a string has a NUL byte in it"))
}

/// Words from anywhere.
pub(crate) fn c_words(text: &str) -> CString {
    CString::new(text.replace('\0', "\u{fffd}")).unwrap_or_default()
}

/// The number of an application's error.
pub(crate) fn errno_of(error: &(dyn std::error::Error + 'static)) -> c_int {
    let mut at = Some(error);
    while let Some(error) = at {
        if let Some(number) = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error) {
            return number;
        }
        at = error.source();
    }
    libc::EIO
}
