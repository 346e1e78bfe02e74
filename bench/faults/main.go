package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"time"
)

// bench is what every harness is given.
type bench struct {
	ctx    context.Context //nolint:containedctx // of the whole run
	out    io.Writer
	bin    string // the server
	folder string // temporary
	long   bool
	cycles int           // 0 for the harness's own
	span   time.Duration // 0 for the harness's own
	rate   float64       // events a second, 0 for the harness's own
	seed   uint64
	cpus   string   // that the server may use, as taskset has them; "" for all
	flags  []string // of the server, for overload
}

// pick returns the length of the short form, or of the long one, unless a flag says another one.
func (b *bench) pick(short, long int) int {
	if b.cycles > 0 {
		return b.cycles
	}
	if b.long {
		return long
	}
	return short
}

func (b *bench) pickSpan(short, long time.Duration) time.Duration {
	if b.span > 0 {
		return b.span
	}
	if b.long {
		return long
	}
	return short
}

func (b *bench) printf(format string, args ...any) { _, _ = fmt.Fprintf(b.out, format+"\n", args...) }

// errSkipped is returned by a harness that cannot run here.
var errSkipped = errors.New("skipped")

var harnesses = map[string]func(*bench) error{
	"kill": kill, "replies": replies, "full": full, "overload": overload, "soak": soak,
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	b := &bench{ctx: ctx, out: stdout}
	flags := flag.NewFlagSet("faults", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.BoolVar(&b.long, "long", false, "the long form")
	flags.StringVar(&b.bin, "bin", "", "server to try (default: built from this tree)")
	flags.IntVar(&b.cycles, "cycles", 0, "how often, instead of the form's own number")
	flags.DurationVar(&b.span, "for", 0, "how long, instead of the form's own time")
	flags.Float64Var(&b.rate, "rate", 0, "events a second, instead of what is measured first")
	flags.Uint64Var(&b.seed, "seed", uint64(time.Now().UnixNano()), "of all that is random")
	flags.StringVar(&b.cpus, "cpus", "", "processors of the server, as taskset has them, such as 0 (run faults itself under taskset -c 1)")
	flags.Func("serve", "a further argument of the server, for overload", func(text string) error {
		b.flags = append(b.flags, text)
		return nil
	})
	driven := flags.String("drive", "", "for the harness itself: a load, as JSON")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if *driven != "" {
		if err := driveIt(ctx, *driven, stdout); err != nil {
			_, _ = fmt.Fprintln(stderr, "faults:", err)
			return 1
		}
		return 0
	}
	if flags.NArg() == 0 {
		_, _ = fmt.Fprintln(stderr, "faults: say which: kill, replies, full, overload or soak")
		return 2
	}
	if err := b.all(flags.Args()); err != nil {
		_, _ = fmt.Fprintln(stderr, "faults:", err)
		return 1
	}
	return 0
}

func (b *bench) all(names []string) (err error) {
	if b.folder, err = os.MkdirTemp("", "ringfence-faults"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.folder)) }()
	if b.bin == "" {
		b.bin = filepath.Join(b.folder, "ringfence")
		build := exec.CommandContext(b.ctx, "go", "build", "-o", b.bin, "github.com/ringfence/ringfence/cmd/ringfence") //nolint:gosec // our own program
		build.Env = append(os.Environ(), "CGO_ENABLED=0")                                                               // as it is shipped: with it, Pebble has its memory from elsewhere
		build.Stderr = os.Stderr
		if err := build.Run(); err != nil {
			return fmt.Errorf("cannot build the server: %w", err)
		}
	}
	for _, name := range names {
		harness, ok := harnesses[name]
		if !ok {
			return fmt.Errorf("there is no harness %q", name)
		}
		began := time.Now()
		err := harness(b)
		switch {
		case errors.Is(err, errSkipped):
			b.printf("%s: SKIPPED: %v", name, err)
		case err != nil:
			return fmt.Errorf("%s (seed %d): %w", name, b.seed, err)
		default:
			b.printf("%s: passed in %v", name, time.Since(began).Round(time.Second/10))
		}
	}
	return nil
}
