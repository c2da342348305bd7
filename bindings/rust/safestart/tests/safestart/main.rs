// SPDX-License-Identifier: LGPL-2.1-or-later
//! The binding as a user sees it, over the real library.
mod common;
mod handle;
mod life;
