package main

// breakage is one way to break the product, and who has to notice.
type breakage struct {
	name  string
	edits []edit

	pkg, test string   // the harness is this test
	faults    []string // or these arguments of bench/faults

	says string // pattern of the line in which the harness says what it noticed
}

// edit replaces lines of a file.
type edit struct{ file, old, with string }

const store = "./engine/pebblestore"

// Lines that more than one breakage takes away.
var (
	noSync  = []edit{{"engine/pebblestore/tx.go", "if s.opts.volatile || s.logged.all() {", "if s.opts.volatile || s != nil {"}}
	oldSync = []edit{
		{"engine/pebblestore/sync.go", "\tw.next = nil //", "\t//"},
		{"engine/pebblestore/sync.go", "\ts.err = do()\n", "\ts.err = do()\n\tw.mu.Lock()\n\tw.next = nil\n\tw.mu.Unlock()\n"},
	}
	noWait = []edit{{"engine/pebblestore/tx.go", "\tdefer s.leave()\n\ts.awaitLog()\n", "\tdefer s.leave()\n"}}
	noOnce = []edit{{"engine/idempotency.go", "if err != nil || r == nil {", "if err != nil || r == nil || r.Expires > 0 {"}}
	noFail = []edit{{"engine/pebblestore/tx.go", "return s.syncLog(nil) }); err != nil {", "return s.syncLog(nil) }); err != nil && s == nil {"}}
)

// noLock lets others at the subjects between reading and writing them.
var noLock = []edit{{
	"engine/pebblestore/assess.go",
	"\td.ID = record.NewEventID(",
	"\tt.unlock()\n\tt.locked = shardsOf(t.locked, ev.Subjects[:]...)\n\tfor _, i := range t.locked {\n\t\ts.shards[i].mu.Lock()\n\t}\n\td.ID = record.NewEventID(",
}}

var breakages = []breakage{
	{name: "no fsync, power cut", edits: noSync, pkg: store, test: "TestPowerCuts$", says: "acknowledged (event|outcome) is lost"},
	{name: "no fsync, kill", edits: noSync, faults: []string{"-cycles", "5", "kill"}, says: "LOST"},
	{name: "the sync under way will do", edits: oldSync, pkg: store, test: "TestASyncIsForThoseWhoWaitWhenItBegins", says: "a sync that had begun"},
	{name: "a batch does not wait for the log, power cut", edits: noWait, pkg: store, test: "TestPowerCuts$", says: "acknowledged event is lost"},
	{name: "a batch does not wait for the log, kill", edits: noWait, faults: []string{"-cycles", "8", "kill"}, says: "LOST"},
	{name: "no dedupe, kill", edits: noOnce, faults: []string{"-cycles", "8", "kill"}, says: "COUNTED TWICE"},
	{name: "no dedupe, replies", edits: noOnce, faults: []string{"-cycles", "500", "replies"}, says: "COUNTED TWICE"},
	{name: "lock let go, links", edits: noLock, pkg: store, test: "TestLinksInAnyOrder", says: "illegal"},
	{name: "lock let go, power cut", edits: noLock, pkg: store, test: "TestPowerCuts$", says: "are counted, .* logged"},
	{
		name:  "one link too many",
		edits: []edit{{"engine/record/links.go", "if r.Links() >= limit {", "if r.Links() > limit {"}},
		pkg:   store, test: "TestLinksInAnyOrder", says: "illegal",
	},
	{
		name:  "a count is forgotten, model",
		edits: []edit{{"engine/pebblestore/tx.go", "\t\tif s.Given() {\n\t\t\tt.staged = append(", "\t\tif s.Given() && s.ID[15]&7 != 0 {\n\t\t\tt.staged = append("}},
		pkg:   store, test: "TestContractInMemory/random", says: "got .*, want",
	},
	{
		name:  "tokens that lead nowhere let in, model",
		edits: []edit{{"engine/pebblestore/expiry.go", "\treturn phone != nil && phone.Gen", "\treturn t == nil && phone != nil && phone.Gen"}},
		pkg:   store, test: "TestContractInMemory/random", says: "a phone that has to be known",
	},
	{
		name: "tables before the log",
		edits: []edit{{
			"engine/pebblestore/flush.go", "\tif err := f.s.logIsDurable(); err != nil {\n\t\treturn err\n\t}\n\tvar paths", "\tvar paths",
		}},
		pkg: store, test: "TestPowerCuts$", says: "are counted, .* logged",
	},
	{
		name:  "a watermark that leads",
		edits: []edit{{"engine/pebblestore/flush.go", "f.s.setWatermark(mark)", "f.s.setWatermark(f.s.lastSeq.Load() + mark - mark)"}},
		pkg:   store, test: "TestPowerCuts$", says: "are counted, .* logged",
	},
	{
		name:  "a watermark that rises during a backup",
		edits: []edit{{"engine/pebblestore/flush.go", "\tf.marks.Lock()\n\terr := f.s.setWatermark(mark)\n\tf.marks.Unlock()\n", "\terr := f.s.setWatermark(mark)\n"}},
		pkg:   store, test: "TestABackupHoldsWhatWasAnswered", says: "are counted, .* logged",
	},
	{
		name:  "marker before manifest",
		edits: []edit{{"engine/pebblestore/markers.go", `if strings.HasPrefix(fs.PathBase(name), "marker.") {`, `if strings.HasPrefix(fs.PathBase(name), "no marker.") {`}},
		pkg:   store, test: "TestPowerCutBetweenManifestAndMarker", says: "could not open manifest file",
	},
	{name: "errors ignored, one write", edits: noFail, pkg: store, test: "TestWriteErrors", says: "WRONG"},
	{name: "errors ignored, full disk", edits: noFail, faults: []string{"full"}, says: "LOST|neither ended"},
	{
		name:  "background errors ignored",
		edits: []edit{{"engine/pebblestore/background.go", "if n > maxBackgroundErrors {", "if n < 0 {"}},
		pkg:   store, test: "TestOpenOnADiskThatTakesNoTables", says: "opening hung",
	},
	{
		name:  "no seals",
		edits: []edit{{"engine/pebblestore/damage.go", "return l.s.syncLog(seal)", "return l.s.syncLog(nil)"}},
		pkg:   store, test: "TestBitFlips", says: `\.log, byte .* is not what it was`,
	},
	{
		name:  "no guard",
		edits: []edit{{"engine/pebblestore/guard.go", "if errors.Is(err, os.ErrNotExist) {", "if err == nil || errors.Is(err, os.ErrNotExist) {"}},
		pkg:   store, test: "TestBitFlips", says: "MANIFEST.*is not what it was",
	},
	{
		name:  "no guard at closing",
		edits: []edit{{"engine/pebblestore/store.go", "if err == nil && !s.opts.volatile {\n\t\terr = s.guard.renew()", "if err == nil && !s.opts.volatile {\n\t\terr = nil"}},
		pkg:   store, test: "TestTheGuardOfAClosedStore", says: "a part of the manifest",
	},
	{
		name: "a goroutine a request",
		edits: []edit{{
			"api/server/server.go", "\ts.underWay.Add(1)\n", "\ts.underWay.Add(1)\n\tgo func() { select {} }()\n",
		}},
		faults: []string{"-for", "12s", "soak"}, says: "more goroutines",
	},
	{
		name: "memory a request",
		edits: []edit{{
			"api/server/server.go", "\ts.underWay.Add(1)\n", "\ts.underWay.Add(1)\n\tkept := bytes.Repeat([]byte{1}, 64<<10)\n\tgo func() { <-make(chan int); println(kept[0]) }()\n",
		}, {"api/server/server.go", "import (\n", "import (\n\t\"bytes\"\n"}},
		faults: []string{"-for", "4s", "overload"}, says: "memory under overload",
	},
}
