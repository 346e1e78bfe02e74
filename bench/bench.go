// Package bench measures the hot path. Nobody imports it.
package bench
