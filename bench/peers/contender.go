package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/ringfence/ringfence/bench/load"
)

// Names of contenders, which ratios refer to.
const (
	inProcess    = "ringfence in process, durable"
	overHTTP     = "ringfence over HTTP, durable"
	batches      = "ringfence over HTTP, durable, batches of 100"
	manyOverHTTP = "ringfence over HTTP, durable, 256 connections"
	emptyGin     = "empty Gin handler"
	manyEmptyGin = "empty Gin handler, 256 connections"
	ginRedis     = "Gin and Redis, full Lua, always"
	fullAlways   = "Redis, full Lua, always"
	fullEverysec = "Redis, full Lua, everysec"
	leanAlways   = "Redis, lean Lua, always"
	leanEverysec = "Redis, lean Lua, everysec"
)

// contender is one of those that are measured.
type contender struct {
	name    string
	workers int
	servers []int // processes that work besides the one that asks; none: all is one process
	run     func(order) (*load.Result, error)
}

// field is everybody who is measured, and what has to be ended after.
type field struct {
	contenders []*contender
	stops      []func() error
	redis      string // version, "" without
}

func (f *field) stop() error {
	var all error
	for i := len(f.stops) - 1; i >= 0; i-- {
		all = errors.Join(all, f.stops[i]())
	}
	return all
}

// newField starts everybody in folders below dir. Without Redis, those who need it are missing.
func newField(ctx context.Context, dir string, phones uint64, withRedis bool) (*field, error) {
	f := new(field)
	err := f.addInProcess(ctx, filepath.Join(dir, "in-process"), phones)
	if err == nil {
		err = f.addOverHTTP(ctx, "ringfence", filepath.Join(dir, "http"), phones, 0, map[string]sender{
			overHTTP: {64, runSingles}, manyOverHTTP: {256, runSingles}, batches: {batchPosts, runBatches},
		})
	}
	if err == nil {
		err = f.addOverHTTP(ctx, "gin", "", phones, 0, map[string]sender{emptyGin: {64, runSingles}, manyEmptyGin: {256, runSingles}})
	}
	if err == nil && withRedis {
		err = errors.Join(
			f.addRedis(ctx, dir, phones, "always", fullAlways, leanAlways),
			f.addRedis(ctx, dir, phones, "everysec", fullEverysec, leanEverysec))
	}
	if err != nil {
		return nil, errors.Join(err, f.stop())
	}
	return f, nil
}

func (f *field) addInProcess(ctx context.Context, dir string, phones uint64) error {
	c, err := startChild(ctx, "in-process", fmt.Sprint(phones, " ", dir))
	if err != nil {
		return err
	}
	f.stops = append(f.stops, c.stop)
	f.contenders = append(f.contenders, &contender{name: inProcess, workers: 64, run: c.do})
	return nil
}

// sender is a way to ask a server.
type sender struct {
	connections int
	run         func(ctx context.Context, address string, o order, source func() *load.Source) (*load.Result, error)
}

// addOverHTTP starts a server, and measures it with each sender. behind is the process of the
// server that it asks itself, 0 for none.
func (f *field) addOverHTTP(ctx context.Context, role, told string, phones uint64, behind int, names map[string]sender) error {
	c, err := startChild(ctx, role, told)
	if err != nil {
		return err
	}
	f.stops = append(f.stops, c.stop)
	servers := []int{c.cmd.Process.Pid}
	if behind != 0 {
		servers = append(servers, behind)
	}
	var seeds atomic.Uint64
	for name, by := range names {
		f.contenders = append(f.contenders, &contender{name: name, workers: by.connections, servers: servers, run: func(o order) (*load.Result, error) {
			return by.run(ctx, c.ready, o, func() *load.Source { return load.Hot(phones).Source(seeds.Add(1)) })
		}})
	}
	return nil
}

// runSingles sends signups one by one.
func runSingles(ctx context.Context, address string, o order, source func() *load.Source) (*load.Result, error) {
	return runClients(ctx, address, o, func(c *load.Client) func() error {
		s, body := source(), []byte(nil)
		return func() error {
			body = s.Body(body[:0])
			return c.Post("/v1/assessments", body)
		}
	})
}

// runClients opens as many connections as there are workers, and lets each do what work makes for it.
func runClients(ctx context.Context, address string, o order, work func(*load.Client) func() error) (*load.Result, error) {
	clients := make([]*load.Client, o.Workers)
	for i := range clients {
		c, err := load.Dial(ctx, address)
		if err != nil {
			return nil, err
		}
		defer func() { _ = c.Close() }()
		clients[i] = c
	}
	return o.run(func(w int) func() error { return work(clients[w]) }), nil
}

// batchLines is how many events a batch has, and batchPosts how many batches are under way at a time.
const (
	batchLines = 100
	batchPosts = 8
)

// runBatches sends batches of signups. What the result says of times to answer is about whole batches.
func runBatches(ctx context.Context, address string, o order, source func() *load.Source) (*load.Result, error) {
	o.PerSecond /= batchLines
	r, err := runClients(ctx, address, o, func(c *load.Client) func() error {
		s, body := source(), []byte(nil)
		return func() error {
			body = body[:0]
			for range batchLines {
				body = append(s.Body(body), '\n')
			}
			return c.PostLines("/v1/assessments/batch", body, batchLines)
		}
	})
	if err == nil {
		r.Events, r.Failed = r.Events*batchLines, r.Failed*batchLines
	}
	return r, err
}

// addRedis starts a server, and measures both scripts on it, each with keys of its own; and, synced always, the full one behind Gin.
func (f *field) addRedis(ctx context.Context, dir string, phones uint64, appendfsync, fullName, leanName string) error {
	s, err := startRedis(ctx, dir, appendfsync)
	if err != nil {
		return err
	}
	f.stops = append(f.stops, s.stop)
	rdb := connect(s.socket, 64)
	f.stops = append(f.stops, rdb.Close)
	if f.redis, err = redisVersion(ctx, rdb); err != nil {
		return err
	}
	for name, run := range map[string]func(load.Party) error{
		fullName: func(p load.Party) error {
			_, err := runFull(ctx, rdb, keysOf(p), time.Now(), 0)
			return err
		},
		leanName: func(p load.Party) error {
			_, err := runLean(ctx, rdb, keysOf(p), time.Now())
			return err
		},
	} {
		f.contenders = append(f.contenders, &contender{name: name, workers: 64, servers: []int{s.pid()}, run: scriptRun(phones, run)})
	}
	if appendfsync != "always" {
		return nil
	}
	return f.addOverHTTP(ctx, "gin-redis", s.socket, phones, s.pid(), map[string]sender{ginRedis: {64, runSingles}})
}

func scriptRun(phones uint64, run func(load.Party) error) func(order) (*load.Result, error) {
	var seeds atomic.Uint64
	return func(o order) (*load.Result, error) {
		return o.run(func(int) func() error {
			source := load.Hot(phones).Source(seeds.Add(1))
			return func() error { return run(source.Next()) }
		}), nil
	}
}

// redisVersion asks a server what it is.
func redisVersion(ctx context.Context, c *redis.Client) (string, error) {
	info, err := c.InfoMap(ctx, "server").Result()
	return info["Server"]["redis_version"], err
}

// tempDir makes a folder for everything, on the disk that TMPDIR is on.
func tempDir() (dir string, remove func() error, err error) {
	dir, err = os.MkdirTemp("", "ringfence-peers-")
	return dir, func() error { return os.RemoveAll(dir) }, err
}
