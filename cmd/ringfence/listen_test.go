package main

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// TestConnectionsAreBounded opens one connection more than there may be: it waits until another one is closed, and a listener that is closed keeps nobody waiting.
func TestConnectionsAreBounded(t *testing.T) {
	f := listenFlags{addr: "127.0.0.1:0"}
	if l, err := f.listen(t.Context()); err != nil {
		t.Fatal(err)
	} else if b, is := l.(*bounded); mostFiles() > 0 && (!is || cap(b.room) != mostFiles()/2) || l.Close() != nil {
		t.Errorf("a server's listener is a %T", l)
	}
	tcp, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := bound(tcp, 2)
	accepted, failed := make(chan net.Conn, 3), make(chan error, 1)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				failed <- err
				return
			}
			accepted <- c
		}
	}()
	dial := func() net.Conn {
		c, err := new(net.Dialer).DialContext(t.Context(), "tcp", tcp.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	for range 3 {
		dial()
	}
	first, second := <-accepted, <-accepted
	select {
	case <-accepted:
		t.Error("there is a third connection")
	case <-time.After(50 * time.Millisecond):
	}
	if _, is := first.(interface{ CloseWrite() error }); !is {
		t.Error("a connection cannot be half closed")
	}
	for range 2 { // net/http may close one twice
		_ = first.Close()
	}
	third := <-accepted
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	select {
	case err := <-failed: // it waits for room, as two are open
		if !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("a closed listener waits for room")
	}
	for _, c := range []net.Conn{second, third} {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := io.ReadAll(first); err == nil {
		t.Error("the first connection is open")
	}
}
