// SPDX-License-Identifier: LGPL-2.1-or-later

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// pool has connections to one Redis: as much of a client as this server needs.
type pool struct {
	address string
	idle    chan *connection
}

type connection struct {
	net.Conn
	lines *bufio.Reader
}

func newPool(address string) *pool { return &pool{address, make(chan *connection, 64)} }

// Close closes the idle connections. The library has it called when no request uses the pool any more.
func (p *pool) Close() error {
	for {
		select {
		case c := <-p.idle:
			c.Close()
		default:
			return nil
		}
	}
}

func (p *pool) get(ctx context.Context) (*connection, error) {
	select {
	case c := <-p.idle:
		return c, nil
	default:
	}
	dialer := net.Dialer{Timeout: time.Second}
	c, err := dialer.DialContext(ctx, "tcp", p.address)
	if err != nil {
		return nil, err
	}
	return &connection{c, bufio.NewReader(c)}, nil
}

// do sends a command whose answer is one line.
func (p *pool) do(ctx context.Context, command ...string) (string, error) {
	c, err := p.get(ctx)
	if err != nil {
		return "", err
	}
	said, err := c.do(command)
	if err != nil {
		c.Close()
		return "", err
	}
	select {
	case p.idle <- c:
	default:
		c.Close()
	}
	if failed, is := strings.CutPrefix(said, "-"); is {
		return "", errors.New(failed)
	}
	return said[1:], nil
}

func (c *connection) do(command []string) (string, error) {
	var text strings.Builder
	fmt.Fprintf(&text, "*%d\r\n", len(command))
	for _, word := range command {
		fmt.Fprintf(&text, "$%d\r\n%s\r\n", len(word), word)
	}
	if err := c.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return "", err
	}
	if _, err := c.Write([]byte(text.String())); err != nil {
		return "", err
	}
	said, err := c.lines.ReadString('\n')
	if err != nil {
		return "", err
	}
	if said = strings.TrimSpace(said); said == "" {
		return "", errors.New("an empty answer")
	}
	return said, nil
}
