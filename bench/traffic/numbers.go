package traffic

import (
	"fmt"
	"sync"

	"github.com/ringfence/ringfence/hashing"
)

// block is a run of numbers kept for fiction that share their first digits.
type block struct {
	prefix string // "+1202555" or "+4930"; what follows is from on, padded to width
	from   int
	width  int
	size   int
	region string
}

func (b *block) number(i int) string { return fmt.Sprintf("%s%0*d", b.prefix, b.width, b.from+i) }

// german are the towns' numbers kept for films (notice 148/2021 in the gazette of
// the Bundesnetzagentur, 7/2021).
var german = []string{"+493023125", "+496990009", "+494066969", "+492214710", "+498999998"}

// blocks returns all blocks whose numbers are ordinary lines.
var blocks = sync.OnceValue(func() []block {
	var all []block
	for area := 201; area < 990; area++ {
		b := block{prefix: fmt.Sprintf("+1%d555", area), from: 100, width: 4, size: 100}
		n, err := hashing.Parse(b.number(0), "")
		if err == nil && n.Type() == "fixed_line_or_mobile" {
			b.region = n.Region()
			all = append(all, b)
		}
	}
	for _, prefix := range german {
		all = append(all, block{prefix: prefix, width: 3, size: 1000, region: "DE"})
	}
	return all
})

// pool hands out numbers, each once.
type pool struct {
	blocks []block
	taken  []map[int]bool // by block
}

func newPool() *pool {
	p := &pool{blocks: blocks()}
	p.taken = make([]map[int]bool, len(p.blocks))
	for i := range p.taken {
		p.taken[i] = map[int]bool{}
	}
	return p
}

// abroad is the index of the first block outside the North American plan.
func (p *pool) abroad() int { return len(p.blocks) - len(german) }

// number takes one from anywhere at home, or abroad.
func (w *maker) number(abroad bool) (number, region string) {
	first, n := 0, w.pool.abroad()
	if abroad {
		first, n = w.pool.abroad(), len(german)
	}
	for {
		b := first + w.random.IntN(n)
		i := w.random.IntN(w.pool.blocks[b].size)
		if !w.pool.taken[b][i] {
			w.pool.taken[b][i] = true
			return w.pool.blocks[b].number(i), w.pool.blocks[b].region
		}
	}
}

// run takes up to most numbers of a block that nobody has yet, in sequence. With abroad
// it is one of the long blocks, while any has room.
func (w *maker) run(abroad bool, most int) []string {
	b := w.roomiest(0, w.pool.abroad())
	if long := w.roomiest(w.pool.abroad(), len(w.pool.blocks)); abroad && w.pool.room(long) > w.pool.room(b) {
		b = long
	}
	var all []string
	for i := range w.pool.blocks[b].size {
		if !w.pool.taken[b][i] && len(all) < most {
			w.pool.taken[b][i] = true
			all = append(all, w.pool.blocks[b].number(i))
		}
	}
	return all
}

// roomiest returns the emptiest of a few blocks drawn from [first, end).
func (w *maker) roomiest(first, end int) int {
	best := first + w.random.IntN(end-first)
	for range 7 {
		if b := first + w.random.IntN(end-first); w.pool.room(b) > w.pool.room(best) {
			best = b
		}
	}
	return best
}

// room is how many numbers of a block nobody has yet.
func (p *pool) room(b int) int { return p.blocks[b].size - len(p.taken[b]) }
