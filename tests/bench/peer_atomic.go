// SPDX-License-Identifier: LGPL-2.1-or-later
// Go's atomic.Pointer; the garbage collector keeps what is read. Prints nanoseconds of CPU for one load and use.
// usage: peer_atomic THREADS
package main

import (
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
)

const times = 20000000

type set struct{ size uint64 }

var live atomic.Pointer[set]
var sink atomic.Uint64

func cpu() int64 {
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) != nil {
		os.Exit(1)
	}
	return usage.Utime.Nano() + usage.Stime.Nano()
}

func main() {
	threads, err := strconv.Atoi(os.Args[1])
	if err != nil {
		os.Exit(2)
	}
	live.Store(&set{1})
	var all sync.WaitGroup
	begun := cpu()
	for t := 0; t < threads; t++ {
		all.Add(1)
		go func() {
			defer all.Done()
			sum := uint64(0)
			for i := 0; i < times; i++ {
				sum += live.Load().size
			}
			sink.Add(sum)
		}()
	}
	all.Wait()
	fmt.Println(float64(cpu()-begun) / float64(threads) / times)
}
