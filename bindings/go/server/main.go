// SPDX-License-Identifier: LGPL-2.1-or-later

// Command server is an HTTP server that answers from Redis nodes: which ones there are, safestart tells it. Nodes come, go and die
// under load, and no request fails.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"safestart"
)

// settings are KEY=VALUE, as often as you like.
type settings map[string]string

func (s settings) String() string { return "" }

func (s settings) Set(text string) error {
	key, value, _ := strings.Cut(text, "=")
	s[key] = value
	return nil
}

// prepare gives each new node a pool that has answered once. A node that does not answer is left out and retried.
func prepare(ctx context.Context, run *safestart.Run) error {
	changes, err := run.Changes()
	for _, change := range changes {
		if change.Kind == safestart.Removed {
			continue
		}
		nodes := newPool(change.Address())
		if _, refused := nodes.do(ctx, "PING"); refused != nil {
			nodes.Close()
			err = errors.Join(err, run.Reject(change.ID, refused.Error()))
		} else if refused := run.SetNodeData(change.ID, nodes); refused != nil {
			nodes.Close()
			return refused
		}
	}
	return err
}

// answer asks the node that has the key, and the next one if that does not answer.
func answer(nodes *safestart.Snapshot, request *http.Request) (string, error) {
	hash := fnv.New32a()
	hash.Write([]byte(request.URL.Path))
	err := errors.New("there are no nodes")
	for i := range nodes.Len() {
		node := nodes.At((int(hash.Sum32()%uint32(nodes.Len())) + i) % nodes.Len())
		var said string
		said, err = node.Data.(*pool).do(request.Context(), "INCR", request.URL.Path)
		if request.Context().Err() != nil {
			return "", err // the client has left: that says nothing about the node
		}
		node.Report(err)
		if err == nil {
			return node.ID + ": " + said, nil
		}
	}
	return "", err
}

func main() {
	address := flag.String("listen", "127.0.0.1:8080", "where to listen")
	set := settings{}
	flag.Var(set, "set", "a setting of the library, KEY=VALUE")
	flag.Parse()
	handle, err := safestart.Open(set, safestart.Options{Prepare: prepare})
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := handle.WaitReady(ctx); err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Addr: *address, Handler: http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		said, err := answer(handle.Nodes(), request)
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, said)
	})}
	go func() {
		<-ctx.Done()
		limited, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = server.Shutdown(limited)
	}()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
	if err := handle.Close(); err != nil {
		log.Fatal(err)
	}
}
