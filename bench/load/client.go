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
}

var errRefused = errors.New("the server refuses")

// Dial connects to a server. The caller closes the client.
func Dial(ctx context.Context, address string) (*Client, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return &Client{conn: conn, in: bufio.NewReader(conn)}, nil
}

// Close closes the connection.
func (c *Client) Close() error { return c.conn.Close() }

// Post sends a JSON body and reads the answer. Any status but 200 is an error.
func (c *Client) Post(path string, body []byte) error {
	c.out = fmt.Appendf(c.out[:0], "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", path, len(body))
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
// fewer lines than lines.
func (c *Client) PostLines(path string, body []byte, lines int) error {
	c.out = fmt.Appendf(c.out[:0], "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\nContent-Length: %d\r\n\r\n", path, len(body))
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
