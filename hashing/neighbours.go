package hashing

// Neighbours returns the subjects of the numbers one below and one above n, the
// zero Subject where there is none of the same length. They need not be valid
// numbers. Whoever asks for numbers in a row asks for neighbours, in
// whatever order.
func (h *Hasher) Neighbours(n Number) (below, above Subject) {
	if n.p == nil {
		return below, above
	}
	var digits [MaxNumberSize]byte
	text := digits[:copy(digits[:], n.p.v.text())]
	if step(text, '9', '0', 1) {
		above = h.subject(Phone, h.p.v.phone, text, "")
	}
	text = digits[:copy(digits[:], n.p.v.text())]
	if step(text, '0', '9', -1) {
		below = h.subject(Phone, h.p.v.phone, text, "")
	}
	return below, above
}

// step counts decimal digits one up or down in place, and reports false when
// that would take another digit.
func step(text []byte, last, first byte, by int8) bool {
	for i := len(text) - 1; i >= 0; i-- {
		if text[i] != last {
			text[i] += byte(by) //nolint:gosec // 1 or -1
			return true
		}
		text[i] = first
	}
	return false
}
