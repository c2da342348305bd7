// SPDX-License-Identifier: LGPL-2.1-or-later
//! Reading: a borrow on one thread, an owned snapshot, and a cached one.

use crate::data::{behind, Objects};
use crate::error::copied;
use crate::Safestart;
use libsafestart_sys as sys;
use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::marker::PhantomData;
use std::os::raw::c_char;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

/// One generation: an immutable set of nodes, in the order of ids (byte by byte), with your data.
pub struct Nodes<T, G = ()> {
    raw: *const sys::safestart_snapshot,
    _data: PhantomData<(Arc<T>, Arc<G>)>,
}

// The library's snapshots are immutable, and its reports of nodes are atomic.
unsafe impl<T: Send + Sync, G: Send + Sync> Send for Nodes<T, G> {}
unsafe impl<T: Send + Sync, G: Send + Sync> Sync for Nodes<T, G> {}

impl<T, G> Nodes<T, G> {
    /// # Safety
    /// The snapshot and its keys last as long as what is returned.
    pub(crate) unsafe fn of(raw: *const sys::safestart_snapshot) -> Self {
        Nodes { raw, _data: PhantomData }
    }

    /// 0 before the first load.
    pub fn generation(&self) -> u64 {
        unsafe { sys::safestart_snapshot_generation(self.raw) }
    }

    pub fn len(&self) -> usize {
        unsafe { sys::safestart_snapshot_size(self.raw) }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn get(&self, index: usize) -> Option<Node<'_, T>> {
        self.node(unsafe { sys::safestart_snapshot_at(self.raw, index) })
    }

    pub fn find(&self, id: &str) -> Option<Node<'_, T>> {
        let id = CString::new(id).ok()?;
        self.node(unsafe { sys::safestart_snapshot_find(self.raw, id.as_ptr()) })
    }

    pub fn iter(&self) -> impl Iterator<Item = Node<'_, T>> {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    /// What [`Run::set_data`](crate::Run::set_data) attached to the generation.
    pub fn data(&self) -> Option<&Arc<G>> {
        unsafe { behind(sys::safestart_snapshot_key(self.raw)) }
    }

    fn node(&self, raw: *const sys::safestart_node) -> Option<Node<'_, T>> {
        (!raw.is_null()).then_some(Node { raw, _of: PhantomData })
    }
}

/// A node of a borrowed or owned set.
pub struct Node<'a, T> {
    raw: *const sys::safestart_node,
    _of: PhantomData<&'a Arc<T>>,
}

impl<T> Clone for Node<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Node<'_, T> {}
unsafe impl<T: Send + Sync> Send for Node<'_, T> {}
unsafe impl<T: Send + Sync> Sync for Node<'_, T> {}

impl<'a, T> Node<'a, T> {
    pub fn id(&self) -> &'a str {
        unsafe { text(sys::safestart_node_id(self.raw)) }
    }

    /// A name or an address, an IPv6 address without its brackets.
    pub fn host(&self) -> &'a str {
        unsafe { text(sys::safestart_node_host(self.raw)) }
    }

    pub fn port(&self) -> u16 {
        unsafe { sys::safestart_node_port(self.raw) }
    }

    pub fn label(&self, name: &str) -> Option<&'a str> {
        let name = CString::new(name).ok()?;
        let value = unsafe { sys::safestart_node_label(self.raw, name.as_ptr()) };
        (!value.is_null()).then(|| unsafe { text(value) })
    }

    /// Names and values, in the order of names, without `id`.
    pub fn labels(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let raw = self.raw;
        (0..).map_while(move |index| {
            let mut name: *const c_char = std::ptr::null();
            let value = unsafe { sys::safestart_node_label_at(raw, index, &mut name) };
            (!value.is_null()).then(|| unsafe { (text(name), text(value)) })
        })
    }

    /// What [`Run::set_node_data`](crate::Run::set_node_data) attached. A clone of the `Arc` may outlive the node.
    pub fn data(&self) -> Option<&'a Arc<T>> {
        unsafe { behind(sys::safestart_node_key(self.raw)) }
    }

    /// How a real request to it went. The newest report makes the node proven or failing.
    pub fn report(&self, result: Result<(), &std::io::Error>) {
        let error = match result {
            Ok(()) => 0,
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut => libc::ETIMEDOUT,
            Err(error) => error.raw_os_error().unwrap_or(1),
        };
        unsafe { sys::safestart_node_report(self.raw, error) };
    }

    pub(crate) fn entry(&self) -> Entry<T> {
        Entry {
            id: self.id().into(),
            host: self.host().into(),
            port: self.port(),
            labels: self.labels().map(|(name, value)| (name.into(), value.into())).collect(),
            data: self.data().cloned(),
        }
    }

    /// # Safety
    /// The node lasts as long as `'a`.
    pub(crate) unsafe fn of(raw: *const sys::safestart_node) -> Self {
        Node { raw, _of: PhantomData }
    }
}

/// The library accepts nothing but UTF-8.
unsafe fn text<'a>(text: *const c_char) -> &'a str {
    let bytes = CStr::from_ptr(text);
    debug_assert!(bytes.to_str().is_ok(), "{}", copied(text));
    bytes.to_str().unwrap_or("")
}

/// A copy of a node, for [`Run`](crate::Run).
#[derive(Debug, PartialEq, Eq)]
pub struct Entry<T> {
    pub id: String,
    pub host: String,
    pub port: u16,
    pub labels: BTreeMap<String, String>,
    pub data: Option<Arc<T>>,
}

impl<T> Entry<T> {
    /// For `TcpStream::connect`.
    pub fn address(&self) -> (&str, u16) {
        (&self.host, self.port)
    }
}

/// A borrow of the live set: for the hot path, on this thread. What it holds is not retired before it is dropped, so do not block
/// and do not await with it; that takes a [`Snapshot`].
///
/// It stays on its thread:
///
/// ```compile_fail,E0277
/// fn send(guard: safestart::Guard<'static, String>) {
///     std::thread::spawn(move || guard.len());
/// }
/// ```
pub struct Guard<'a, T, G = ()> {
    nodes: Nodes<T, G>,
    raw: *mut sys::safestart,
    _on_this_thread: PhantomData<(&'a (), *const ())>,
}

impl<T, G> std::ops::Deref for Guard<'_, T, G> {
    type Target = Nodes<T, G>;
    fn deref(&self) -> &Nodes<T, G> {
        &self.nodes
    }
}

impl<T, G> Drop for Guard<'_, T, G> {
    fn drop(&mut self) {
        unsafe { sys::safestart_read_unlock(self.raw) }
    }
}

/// An owned set, which may be kept, sent to other threads, held over an await, and outlives the handle.
pub struct Snapshot<T, G = ()> {
    nodes: Nodes<T, G>,
    raw: *mut sys::safestart_snapshot,
    _objects: Arc<Objects<T, G>>, // dropped after the release
}

unsafe impl<T: Send + Sync, G: Send + Sync> Send for Snapshot<T, G> {}
unsafe impl<T: Send + Sync, G: Send + Sync> Sync for Snapshot<T, G> {}

impl<T, G> std::ops::Deref for Snapshot<T, G> {
    type Target = Nodes<T, G>;
    fn deref(&self) -> &Nodes<T, G> {
        &self.nodes
    }
}

impl<T, G> Drop for Snapshot<T, G> {
    fn drop(&mut self) {
        unsafe { sys::safestart_snapshot_release(self.raw) }
    }
}

impl<T: Send + Sync + 'static, G: Send + Sync + 'static> Safestart<T, G> {
    /// Borrows the live set.
    pub fn read(&self) -> Guard<'_, T, G> {
        let nodes = unsafe { Nodes::of(sys::safestart_read_lock(self.raw())) };
        Guard { nodes, raw: self.raw(), _on_this_thread: PhantomData }
    }

    /// Owns the live set.
    pub fn snapshot(&self) -> Snapshot<T, G> {
        let raw = unsafe { sys::safestart_snapshot_acquire(self.raw()) };
        Snapshot { nodes: unsafe { Nodes::of(raw) }, raw, _objects: self.objects() }
    }

    /// A snapshot of your own that is replaced when the generation's number has changed, for a thread or task that looks very often:
    /// a look is one atomic load. It keeps what it has until you look again. For a moment it may be one generation behind
    /// [`read`](Self::read), but not after a wait.
    pub fn cached(&self) -> Cached<'_, T, G> {
        let snapshot = self.snapshot();
        let live = unsafe { &*sys::safestart_generation_address(self.raw()).cast::<AtomicU64>() };
        Cached { handle: self, live, generation: snapshot.generation(), snapshot }
    }
}

/// See [`Safestart::cached`].
pub struct Cached<'a, T: Send + Sync + 'static, G: Send + Sync + 'static = ()> {
    handle: &'a Safestart<T, G>,
    live: &'a AtomicU64,
    generation: u64,
    snapshot: Snapshot<T, G>,
}

impl<T: Send + Sync + 'static, G: Send + Sync + 'static> Cached<'_, T, G> {
    #[inline]
    pub fn nodes(&mut self) -> &Snapshot<T, G> {
        if self.live.load(Ordering::Acquire) != self.generation {
            self.renew();
        }
        &self.snapshot
    }

    #[cold]
    fn renew(&mut self) {
        self.snapshot = self.handle.snapshot();
        self.generation = self.snapshot.generation();
    }
}
