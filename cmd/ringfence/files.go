package main

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
)

// openSized opens a file, or takes standard input for "-", whose size is -1.
func openSized(path string, stdin io.Reader) (io.ReadCloser, int64, error) {
	if path == "-" {
		return io.NopCloser(stdin), -1, nil
	}
	file, err := os.Open(path) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, 0, err
	}
	info, err := file.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, file.Close())
	}
	return file, info.Size(), nil
}

// unpack reads through gzip when the name of the file says so.
func unpack(path string, in io.Reader) (io.Reader, error) {
	if !strings.HasSuffix(path, ".gz") {
		return in, nil
	}
	z, err := gzip.NewReader(in)
	if err != nil {
		return nil, fmt.Errorf("the file is not packed with gzip: %w", err)
	}
	return z, nil
}

// openInput opens a file, unpacks it if it is packed, or takes standard input for "-".
func openInput(path string, stdin io.Reader) (io.ReadCloser, error) {
	file, _, err := openSized(path, stdin)
	if err != nil {
		return nil, err
	}
	in, err := unpack(path, file)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return struct {
		io.Reader
		io.Closer
	}{in, file}, nil
}

// interruptible is an input, such as a terminal's, that a reader need not wait for once a context
// has ended: then Read returns its error.
type interruptible struct {
	ctx   context.Context //nolint:containedctx // the program's
	from  io.Reader
	once  sync.Once
	parts *io.PipeReader
}

// Read implements io.Reader. Nothing is taken from the input before the first call.
func (in *interruptible) Read(b []byte) (int, error) {
	in.once.Do(func() {
		parts, w := io.Pipe()
		in.parts = parts
		go func() {
			_, err := io.Copy(w, in.from)
			_ = w.CloseWithError(err) // of a pipe: never fails
		}()
		context.AfterFunc(in.ctx, func() { _ = w.CloseWithError(in.ctx.Err()) })
	})
	return in.parts.Read(b)
}
