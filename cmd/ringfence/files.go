package main

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
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
