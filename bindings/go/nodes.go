// SPDX-License-Identifier: LGPL-2.1-or-later

package safestart

/*
#include <safestart/safestart.h>
*/
import "C"

import (
	"fmt"
	"iter"
	"net"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Snapshot is one generation: an immutable set of nodes with your data. It may be kept as long as you
// like, by any goroutine. Data is closed only when the garbage collector has found that no snapshot
// and no node of a generation that has it is in use any more.
type Snapshot struct {
	generation uint64
	nodes      []Node // in the order of ids, byte by byte
	data       any
	owner      *owner
}

// Node is a node in a snapshot.
type Node struct {
	Entry
	Data any // what Run.SetNodeData attached
	c    *C.struct_safestart_node
	of   *owner
}

// owner keeps the library's snapshot, for the Snapshot and for each of its nodes.
type owner struct{ c *C.struct_safestart_snapshot }

// Nodes are the live nodes, never nil. It costs one atomic load: ask again for each request that you
// serve.
func (h *Handle) Nodes() *Snapshot { return h.live.Load() }

// refresh puts a copy of the live generation where Nodes finds it. The caller is in call, or takes
// events.
func (h *Handle) refresh(c *C.struct_safestart) {
	if uint64(C.safestart_generation(c)) == h.live.Load().generation {
		return
	}
	h.refreshing.Lock()
	defer h.refreshing.Unlock()
	snapshot := C.safestart_snapshot_acquire(c)
	generation := uint64(C.safestart_snapshot_generation(snapshot))
	if generation == h.live.Load().generation { // another goroutine was faster
		C.safestart_snapshot_release(snapshot)
		return
	}
	of := &owner{snapshot}
	runtime.AddCleanup(of, func(c *C.struct_safestart_snapshot) { C.safestart_snapshot_release(c) }, snapshot)
	h.live.Store(&Snapshot{
		generation: generation,
		nodes:      h.copyNodes(snapshot, of),
		data:       h.object(uint64(C.safestart_snapshot_key(snapshot))),
		owner:      of,
	})
	collectSoon()
}

// copyNodes copies what readers may want, so that they call nothing. Without an owner the nodes are
// not those of a snapshot, and are not kept.
func (h *Handle) copyNodes(snapshot *C.struct_safestart_snapshot, of *owner) []Node {
	nodes := make([]Node, C.safestart_snapshot_size(snapshot))
	for i := range nodes {
		c := C.safestart_snapshot_at(snapshot, C.size_t(i))
		nodes[i].Entry = Entry{C.GoString(C.safestart_node_id(c)), C.GoString(C.safestart_node_host(c)), uint16(C.safestart_node_port(c)), labelsOf(c)}
		if key := uint64(C.safestart_node_key(c)); key != 0 {
			nodes[i].Data = h.object(key)
		}
		if of != nil {
			nodes[i].c, nodes[i].of = c, of
		}
	}
	return nodes
}

func labelsOf(c *C.struct_safestart_node) map[string]string {
	labels := map[string]string{}
	for i := C.size_t(0); ; i++ {
		var name *C.char
		value := C.safestart_node_label_at(c, i, &name)
		if value == nil {
			return labels
		}
		labels[C.GoString(name)] = C.GoString(value)
	}
}

// An idle program collects garbage every two minutes. So that the connections of a node that has left
// do not stay open as long, it is asked to a second after a new generation, once for all that come
// within it.
var collecting = make(chan struct{}, 1)

func collectSoon() {
	select {
	case collecting <- struct{}{}:
		time.AfterFunc(time.Second, func() { <-collecting; runtime.GC() })
	default:
	}
}

// Generation is the snapshot's number, 0 before the first load.
func (s *Snapshot) Generation() uint64 { return s.generation }

// Data is what Run.SetData attached to the generation.
func (s *Snapshot) Data() any { return s.data }

// Len is the number of nodes.
func (s *Snapshot) Len() int { return len(s.nodes) }

// At is the node at an index, in the order of ids.
func (s *Snapshot) At(index int) *Node { return &s.nodes[index] }

// Find is the node with that id; nil when there is none.
func (s *Snapshot) Find(id string) *Node {
	i, found := slices.BinarySearchFunc(s.nodes, id, func(node Node, id string) int { return strings.Compare(node.ID, id) })
	if !found {
		return nil
	}
	return &s.nodes[i]
}

// All are the nodes, in the order of ids.
func (s *Snapshot) All() iter.Seq[*Node] {
	return func(yield func(*Node) bool) {
		for i := range s.nodes {
			if !yield(&s.nodes[i]) {
				return
			}
		}
	}
}

// Address is host and port, for net.Dial.
func (e *Entry) Address() string {
	return net.JoinHostPort(e.Host, strconv.Itoa(int(e.Port)))
}

// Report says how a real request to the node went: nil, it worked. The newest report makes the node
// Proven or Failing. Nodes of Run.Candidate cannot be reported.
func (n *Node) Report(err error) {
	if n.c == nil {
		return
	}
	result := C.int(0)
	if err != nil {
		result = errnoOf(err)
	}
	C.safestart_node_report(n.c, result)
	runtime.KeepAlive(n.of)
}

// State is what this process knows of a node.
type State int

const (
	Unknown     State = C.SAFESTART_NODE_UNKNOWN     // neither announced nor live
	Announced   State = C.SAFESTART_NODE_ANNOUNCED   // desired, not live yet
	Live        State = C.SAFESTART_NODE_APPLIED     // live, but no request to it has been reported yet
	Proven      State = C.SAFESTART_NODE_PROVEN      // live, and the newest report says it works
	Failing     State = C.SAFESTART_NODE_FAILING     // live, and the newest report says it does not work
	Quarantined State = C.SAFESTART_NODE_QUARANTINED // announced, but unusable or rejected
	Retired     State = C.SAFESTART_NODE_RETIRED     // has left the set, but a reader still has it
)

func (s State) String() string {
	names := []string{"unknown", "announced", "live", "proven", "failing", "quarantined", "retired"}
	if s < Unknown || s > Retired {
		return fmt.Sprintf("state %d", int(s))
	}
	return names[s]
}
