package load

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
)

// Client is the least that can send requests and read answers over one connection. It is not safe
// for concurrent use.
type Client struct {
	conn net.Conn
	in   *bufio.Reader
	out  []byte

	answer *bufio.Reader // of PostLines

	dial  func() (net.Conn, error)
	ended bool // no further request can be sent on conn
}

var errRefused = errors.New("the server refuses")

// Dial connects to a server. The caller closes the client.
func Dial(ctx context.Context, address string) (*Client, error) {
	c := &Client{dial: func() (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "tcp", address) }}
	return c, c.connect()
}

// connect makes a connection, unless there is one that can be used.
func (c *Client) connect() (err error) {
	if c.conn != nil && !c.ended {
		return nil
	}
	if c.conn != nil {
		_ = c.conn.Close() // nothing more is wanted of it
	}
	if c.conn, err = c.dial(); err != nil {
		return err
	}
	c.in, c.ended = bufio.NewReader(c.conn), false
	return nil
}

// Close closes the connection.
func (c *Client) Close() error {
	if c.conn == nil {
		return nil
	}
	return c.conn.Close()
}

// Post sends a JSON body and reads the answer. Any status but 200 is an error.
func (c *Client) Post(path string, body []byte) error {
	c.out = fmt.Appendf(c.out[:0], "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", path, len(body))
	c.out = append(c.out, body...)
	if _, err := c.conn.Write(c.out); err != nil {
		return err
	}
	status, err := c.in.ReadSlice('\n')
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(status, []byte("HTTP/1.1 200")) {
		return errRefused
	}
	length, err := c.length()
	if err != nil {
		return err
	}
	_, err = c.in.Discard(length)
	return err
}

// PostLines sends a body of NDJSON and reads all that comes back. Any status but 200, of the stream or of a line, is an error, and so are
// fewer lines than lines. Where the server has closed the connection behind the last answer, as it does behind a stream, a new one is
// made.
func (c *Client) PostLines(path string, body []byte, lines int) error {
	if err := c.connect(); err != nil {
		return err
	}
	c.ended = true // unless all goes well, and the server leaves it open
	c.out = fmt.Appendf(c.out[:0], "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nContent-Length: %d\r\n\r\n", path, len(body))
	c.out = append(c.out, body...)
	if _, err := c.conn.Write(c.out); err != nil {
		return err
	}
	res, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return errRefused
	}
	if c.answer == nil {
		c.answer = bufio.NewReaderSize(nil, 64<<10)
	}
	c.answer.Reset(res.Body)
	for ; ; lines-- {
		line, err := c.answer.ReadSlice('\n')
		switch {
		case err == io.EOF && lines == 0:
			c.ended = res.Close
			return nil
		case err != nil:
			return err
		case !bytes.Contains(line, []byte(`"status":200`)):
			return errRefused
		}
	}
}

// length reads the head of an answer and returns the size of its body.
func (c *Client) length() (n int, err error) {
	n = -1
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		if len(line) <= 2 {
			break
		}
		if text, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if n, err = strconv.Atoi(string(bytes.TrimSpace(text))); err != nil {
				return 0, err
			}
		}
	}
	if n < 0 {
		return 0, fmt.Errorf("an answer without a length: %w", io.ErrUnexpectedEOF)
	}
	return n, nil
}
