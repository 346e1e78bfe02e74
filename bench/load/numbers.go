package load

import (
	"fmt"
	"sync"

	"github.com/ringfence/ringfence/hashing"
)

// Numbers returns the numbers kept for fiction in every area code of the North American plan: some 40,000 in 400
// blocks. The slice is everybody's.
var Numbers = sync.OnceValue(func() []string {
	var all []string
	for area := 201; area < 990; area++ {
		for i := range 100 {
			text := fmt.Sprintf("+1%d55501%02d", area, i)
			if _, err := hashing.Parse(text, ""); err != nil {
				break // no such area
			}
			all = append(all, text)
		}
	}
	return all
})
