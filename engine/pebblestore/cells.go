package pebblestore

// cellSizes are the sizes in bytes in which records are kept. A phone seen once fits the
// first; each further one is half as large again, so that a growing record moves
// seldom. What is larger than the last has memory of its own.
var cellSizes = [...]int{64, 96, 128, 192, 288, 432, 648, 976, 1464, 2200, 3296}

// apart is the class of what is larger than the last cell size.
const apart = uint8(len(cellSizes))

// cells keeps byte strings without a pointer to each, so that the garbage collector sees a
// handful of objects however many there are.
type cells struct {
	classes [apart]cellClass
	large   [][]byte
	free    []uint32 // of large
	spare   int64    // bytes of cells that hold nothing
}

type cellClass struct {
	data []byte
	free []uint32
}

// cell is where a byte string lies.
type cell struct {
	at    uint32
	size  uint32 // bytes in use
	class uint8
}

func classOf(size int) uint8 {
	class := uint8(0)
	for class < apart && cellSizes[class] < size {
		class++
	}
	return class
}

// room returns how many bytes a cell takes up.
func (c cell) room() int {
	if c.class == apart {
		return int(c.size)
	}
	return cellSizes[c.class]
}

// bytes returns what a cell holds. It is valid until the next put.
func (s *cells) bytes(c cell) []byte {
	if c.class == apart {
		return s.large[c.at]
	}
	start := int(c.at) * cellSizes[c.class]
	return s.classes[c.class].data[start : start+int(c.size)]
}

// put copies b into a cell.
func (s *cells) put(b []byte) cell {
	c := cell{size: uint32(len(b)), class: classOf(len(b))} //nolint:gosec // records are far below 4 GiB
	if c.class == apart {
		c.at = s.putApart(b)
		return c
	}
	k := &s.classes[c.class]
	size := cellSizes[c.class]
	if n := len(k.free); n > 0 {
		c.at, k.free = k.free[n-1], k.free[:n-1]
		s.spare -= int64(size)
	} else {
		c.at = uint32(len(k.data) / size) //nolint:gosec // bounded by the memory of a shard
		k.grow(size)
	}
	copy(k.data[int(c.at)*size:], b)
	return c
}

// grow adds a cell. It leaves room for an eighth as many again: append would double a class.
func (k *cellClass) grow(size int) {
	end := len(k.data) + size
	if end > cap(k.data) {
		larger := make([]byte, len(k.data), end+len(k.data)/8/size*size)
		copy(larger, k.data)
		k.data = larger
	}
	k.data = k.data[:end]
}

func (s *cells) putApart(b []byte) uint32 {
	own := append([]byte(nil), b...)
	if n := len(s.free); n > 0 {
		at := s.free[n-1]
		s.free = s.free[:n-1]
		s.large[at] = own
		return at
	}
	s.large = append(s.large, own)
	return uint32(len(s.large) - 1) //nolint:gosec // bounded by the memory of a shard
}

// replace puts b where a cell was, in place when it fits.
func (s *cells) replace(c cell, b []byte) cell {
	if class := classOf(len(b)); class == c.class {
		c.size = uint32(len(b)) //nolint:gosec // records are far below 4 GiB
		if class == apart {
			if cap(s.large[c.at]) < len(b) || cap(s.large[c.at]) > 2*len(b) {
				s.large[c.at] = make([]byte, 0, len(b)+len(b)/8)
			}
			s.large[c.at] = append(s.large[c.at][:0], b...)
		} else {
			copy(s.classes[class].data[int(c.at)*cellSizes[class]:], b)
		}
		return c
	}
	s.release(c)
	return s.put(b)
}

// release frees a cell.
func (s *cells) release(c cell) {
	if c.class == apart {
		s.large[c.at] = nil
		s.free = append(s.free, c.at)
		return
	}
	k := &s.classes[c.class]
	k.free = append(k.free, c.at)
	s.spare += int64(cellSizes[c.class])
}
