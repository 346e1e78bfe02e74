package main

import (
	"context"
	_ "embed"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/ringfence/ringfence/bench/load"
)

//go:embed full.lua
var fullSource string

//go:embed lean.lua
var leanSource string

// The scripts that somebody would write instead.
var (
	full = redis.NewScript(fullSource)
	lean = redis.NewScript(leanSource)
)

// keysOf returns the keys of an event's subjects.
func keysOf(p load.Party) []string {
	key := func(kind string, n uint64) string { return kind + strconv.FormatUint(n, 10) }
	return []string{key("p", p.Phone), key("r", p.Range()), key("a", p.Account), key("i", p.Address), key("n", p.Network())}
}

// maxAccounts is the limit of the default policy.
const maxAccounts = 3

// runFull counts an event and returns what full.lua answers.
func runFull(ctx context.Context, c *redis.Client, keys []string, now time.Time, verified int) ([]int64, error) {
	n, err := full.Run(ctx, c, keys, now.Unix(), maxAccounts, verified).Int64Slice()
	if err == nil && len(n) != 10 {
		err = fmt.Errorf("full.lua: %d answers", len(n))
	}
	return n, err
}

// runLean counts an event and returns what lean.lua answers.
func runLean(ctx context.Context, c *redis.Client, keys []string, now time.Time) ([]int64, error) {
	n, err := lean.Run(ctx, c, keys, now.Unix()).Int64Slice()
	if err == nil && len(n) != 15 {
		err = fmt.Errorf("lean.lua: %d answers", len(n))
	}
	return n, err
}
