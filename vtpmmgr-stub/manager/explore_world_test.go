package manager

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	mrand "math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"xenvtpm/vtpm-stub/state"
	"xenvtpm/vtpmmgr-stub/hwtpm"
	"xenvtpm/vtpmmgr-stub/proto"
	"xenvtpm/vtpmmgr-stub/store"
)

// world is one manager, one vTPM, their disks and the hardware TPM, and what the
// vTPM's guest has seen. The manager and the vTPM's state are the real ones.
// Records are named by labels that rise in the order in which they were made.
type world struct {
	x            *exploration
	mdisk, vdisk *cutDisk
	hw           *fakeTPM
	last         int             // the newest label
	seen         int             // the newest label that a guest has seen; 0: none
	past         map[stolen]bool // disks of the manager that a thief may have kept

	mgr       *Manager     // nil: its domain is off
	vt        *state.Store // nil: its domain is off
	cur, sent int          // labels: what vt works with, and a save whose end it does not know
	client    uint16
	dying     bool
	again     bool // what happens has happened before

	fault  fault
	counts map[string]int
	event  func() // something durable or on its way has changed
}

// stolen is what a copy of the manager's disk is worth: its counter, and the
// label of its record.
type stolen struct {
	counter uint64
	label   int
}

// fault is what fails during one step; the zero fault is none.
type fault struct {
	at    string // "manager write", "vtpm flush", "increment", "save sent", ...
	nth   int    // the first of that kind that fails; increments go on failing
	part  int    // units that a failed write writes
	lost  bool   // the increment is made, and its answer lost
	blind bool   // the counter cannot be read either
}

func (f fault) String() string {
	if f.at == "" {
		return "no fault"
	}
	return strings.TrimSpace(fmt.Sprintf("%s %d fails, part %d%s%s", f.at, f.nth, f.part,
		map[bool]string{true: ", answer lost"}[f.lost], map[bool]string{true: ", counter unreadable"}[f.blind]))
}

// persist copies what a power cut leaves alone, or cuts.
func (w *world) persist() *world {
	return &world{x: w.x, mdisk: w.mdisk.clone(), vdisk: w.vdisk.clone(), hw: w.hw.restart(), last: w.last, seen: w.seen, past: maps.Clone(w.past)}
}

// arm connects devices and faults.
func (w *world) arm() {
	w.counts = map[string]int{}
	changed := func() {
		w.steal()
		if w.event != nil {
			w.event()
		}
	}
	w.mdisk.step, w.mdisk.done = w.disk("manager"), changed
	w.vdisk.step, w.vdisk.done = w.disk("vtpm"), changed
	w.hw.event = changed
	w.hw.fail = func(op string) error {
		switch {
		case w.fault.at != "increment":
		case op == "counter" && w.fault.blind && w.counts["increment"] >= w.fault.nth:
			return hwtpm.ErrBusy
		case op == "increment" && w.hit("increment") && w.fault.lost:
			return errors.Join(errLostAnswer, hwtpm.ErrNoTPM)
		case op == "increment" && w.counts["increment"] >= w.fault.nth:
			return hwtpm.ErrBusy
		}
		return nil
	}
}

// hit counts an operation and reports whether the fault is in force.
func (w *world) hit(at string) bool {
	w.counts[at]++
	return w.fault.at == at && w.counts[at] >= w.fault.nth
}

func (w *world) disk(name string) func(op string) (int, error) {
	return func(op string) (int, error) {
		if w.hit(name+" "+op) && w.counts[name+" "+op] == w.fault.nth {
			return w.fault.part, errDisk
		}
		return 0, nil
	}
}

// steal notes the manager's disk as it stands now, for a thief.
func (w *world) steal() {
	if w.again {
		return
	}
	newest := superTag{}
	for n := int64(16); n < 20; n++ {
		if tag := w.x.superIn(w.mdisk, w.mdisk.at(n), n); tag.gen > newest.gen {
			newest = tag
		}
	}
	w.past[stolen{newest.counter, newest.label}] = true
	maps.DeleteFunc(w.past, func(s stolen, _ bool) bool { return s.counter < w.hw.counter })
}

// rollback names a stolen disk that the hardware TPM would still accept, and that
// is older than what a guest has seen.
func (w *world) rollback() error {
	for s := range w.past {
		if s.label < w.seen && (s.counter == w.hw.counter || s.counter == w.hw.counter+1) {
			return fmt.Errorf("a copy of the manager's disk with record %d, counter %d would be accepted at counter %d, though record %d was seen",
				s.label, s.counter, w.hw.counter, w.seen)
		}
	}
	return nil
}

// client1 and client2 are the vTPM and another one.
func (w *world) frame(ordinal uint32, body []byte) Request {
	f, _ := proto.Request{Tag: proto.TagVTPM, Ordinal: ordinal, Body: body}.Append(nil)
	return Request{Client: ClientID{Domain: w.client}, UUID: uuid(1), Frame: f}
}

func (w *world) otherSave() Request {
	return Request{Client: ClientID{Domain: 9}, UUID: uuid(2), Frame: saveFrame(record(9))}
}

// keys is the manager as the vTPM's state knows it. With other set, another
// vTPM's save is in the same batch.
type keys struct {
	w      *world
	other  bool
	loaded *int
}

var errOff = errors.New("the manager's domain is off")
var errDied = errors.New("the vTPM's domain died")

func (k keys) call(req Request) (proto.Response, error) {
	if k.w.mgr == nil {
		return proto.Response{}, errOff
	}
	batch := []Request{req}
	if k.other {
		batch = append([]Request{k.w.otherSave()}, req)
	}
	answers := k.w.mgr.Handle(batch)
	return proto.ParseResponse(answers[len(answers)-1])
}

func (k keys) Load() ([]byte, error) {
	r, err := k.call(k.w.frame(proto.OrdLoadHashKey, nil))
	switch {
	case err != nil:
		return nil, err
	case r.Result == proto.BadParameter:
		return nil, state.ErrNoRecord
	case r.Result != proto.Success:
		return nil, r.Result
	}
	*k.loaded = k.w.label(r.Body)
	return r.Body, nil
}

func (k keys) Save(rec []byte) error {
	k.w.sent = k.w.label(rec)
	if k.w.hit("save sent") {
		k.w.dying = true
		return errDied
	}
	r, err := k.call(k.w.frame(proto.OrdSaveHashKey, rec))
	if k.w.hit("save answered") {
		k.w.dying = true
		return errDied
	}
	if err == nil && r.Result != proto.Success {
		err = r.Result
	}
	if err == nil {
		k.w.cur, k.w.sent = k.w.sent, 0
	}
	return err
}

// exploration is what all worlds share.
type exploration struct {
	rand   io.Reader
	labels map[[state.RecordSize]byte]int
	hashes map[[32]byte]int
	supers map[[24]byte]superTag // by nonce
	roots  map[[28]byte]int      // labels, by the root's place, commit and tag

	key          []byte
	sectors, box *store.Box // of the store; of the records
	probed       *store.Probed
}

// label names a record; one that was never seen before is the newest. A path that
// is gone again makes other records, and gives them the same labels.
func (w *world) label(rec []byte) int {
	r := [state.RecordSize]byte(rec)
	if w.x.labels[r] == 0 {
		w.last++
		w.x.labels[r], w.x.hashes[[32]byte(rec)] = w.last, w.last
	}
	return w.x.labels[r]
}

// superTag is what a superblock says: which commit, its counter, and the label of
// the record below it, -1 if that cannot be read.
type superTag struct {
	gen, counter uint64
	label        int
}

// superIn reads a superblock alone, as if it stood in sector n of a disk. Blank or
// torn: the zero tag.
func (x *exploration) superIn(d *cutDisk, b []byte, n int64) superTag {
	if b == nil {
		return superTag{}
	}
	nonce := [24]byte(b)
	tag, ok := x.supers[nonce]
	if ok {
		return tag
	}
	aad := append([]byte("xenvtpm sector 1"), x.probed.ID[:]...)
	aad = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(aad, uint32(n)), 0)
	if plain, err := x.sectors.Open(nil, b, aad); err == nil { // version, commit, counter, ..., root
		tag = superTag{gen: binary.BigEndian.Uint64(plain[4:]), counter: binary.BigEndian.Uint64(plain[12:])}
		root := [28]byte(plain[65:])
		if _, ok := x.roots[root]; !ok {
			x.roots[root] = x.recordBelow(d, b, n)
		}
		tag.label = x.roots[root]
	}
	x.supers[nonce] = tag
	return tag
}

// recordBelow opens the store with this superblock alone.
func (x *exploration) recordBelow(d *cutDisk, super []byte, n int64) int {
	one := d.clone()
	for i := int64(16); i < 20; i++ {
		delete(one.durable, i)
		delete(one.pending, i)
	}
	one.durable[n] = super
	s, err := store.Open(one, x.probed, store.Config{Key: x.key, Rand: x.rand})
	if err != nil {
		return -1
	}
	return x.recordIn(s)
}

func (x *exploration) recordIn(s *store.Store) int {
	b, err := s.Get(store.MakeKey(kindVTPM, uuid(1)))
	if err != nil {
		return -1
	}
	if b == nil {
		return 0
	}
	v, err := parseVTPM(b)
	if err != nil {
		return -1
	}
	rec, err := x.box.Open(nil, v.sealed, recordAAD(uuid(1), v.group))
	if err != nil {
		return -1
	}
	return x.labels[[state.RecordSize]byte(rec)]
}

// key is the world with everything left out that makes no difference to what can
// happen. Labels, counters and commits count by their order only; a superblock
// below one that is durable, and a slot with a state that no record can name any
// more, are as good as torn; which of two slots is which does not matter.
func (w *world) key() string {
	k := &keyer{w: w, labels: map[int]bool{}}
	parts := append(k.supers(), k.stolen()...)
	parts = append(parts, k.memory()...)
	parts = append(parts, labelled(w.seen))
	for _, p := range parts {
		if l, ok := p.(labelled); ok {
			k.labels[int(l)] = true
		}
	}
	delete(k.labels, -1)
	k.rank = slices.Sorted(maps.Keys(k.labels))
	slots := []string{k.text(k.slot(0)), k.text(k.slot(1))}
	if w.seen > 0 { // a TPM that exists; the first copy of a new one is always in slot 0
		slices.Sort(slots)
	}
	return k.text(parts) + strings.Join(slots, "|")
}

type labelled int

type keyer struct {
	w      *world
	labels map[int]bool // that something but the vTPM's disk names
	rank   []int
}

// text writes labels as their rank.
func (k *keyer) text(parts []any) string {
	var b []byte
	for _, p := range parts {
		switch p := p.(type) {
		case labelled:
			b = strconv.AppendInt(append(b, 'r'), int64(slices.Index(k.rank, int(p))), 10)
		case int:
			b = strconv.AppendInt(b, int64(p), 10)
		case bool:
			b = strconv.AppendBool(b, p)
		case string:
			b = append(b, p...)
		}
		b = append(b, ' ')
	}
	return string(b)
}

// supers: the slot of the newest durable superblock first.
func (k *keyer) supers() (out []any) {
	d, newest, at := k.w.mdisk, uint64(0), int64(0)
	for n := int64(16); n < 20; n++ {
		if tag := k.w.x.superIn(d, d.durable[n], n); tag.gen > newest {
			newest, at = tag.gen, (n-16)/2
		}
	}
	unflushed := false
	for _, n := range []int64{16 + 2*at, 17 + 2*at, 18 - 2*at, 19 - 2*at} {
		for _, b := range [][]byte{d.durable[n], d.pending[n]} {
			tag := k.w.x.superIn(d, b, n)
			if tag.gen == 0 || tag.gen < newest {
				out = append(out, "old")
				continue
			}
			out = append(out, int(tag.gen-newest), int(int64(tag.counter-k.w.hw.counter)), labelled(tag.label))
		}
		unflushed = unflushed || d.pending[n] != nil
	}
	// A tree that is not flushed matters below a superblock only.
	return append(out, unflushed && slices.ContainsFunc(slices.Collect(maps.Keys(d.pending)), isTree))
}

func isTree(n int64) bool { return n >= 20 }

// stolen: of the copies with one counter the oldest is the thief's best.
func (k *keyer) stolen() (out []any) {
	best := map[int]int{}
	for s := range k.w.past {
		c := int(s.counter - k.w.hw.counter)
		if l, ok := best[c]; !ok || s.label < l {
			best[c] = s.label
		}
	}
	for _, c := range slices.Sorted(maps.Keys(best)) {
		out = append(out, "stolen", c, labelled(best[c]))
	}
	return out
}

// slot names the content of a slot of the vTPM's disk: now, and as each cut would
// leave it.
func (k *keyer) slot(slot int64) (out []any) {
	for _, d := range append(k.w.vdisk.cuts(func(int64) bool { return false }), k.w.vdisk) {
		image := make([]byte, 2*state.SectorSize)
		_, _ = d.ReadAt(image, slot*vdiskSize/2)
		label, initial := k.w.x.hashes[sha256.Sum256(image)], image[0] != 0 && image[11]&1 == 1
		switch {
		case label > 0 && k.labels[label]:
			out = append(out, labelled(label), initial)
		case image[0] == 0:
			out = append(out, "blank")
		default:
			out = append(out, "torn", initial && k.labels[0])
		}
	}
	return out
}

func (k *keyer) memory() (out []any) {
	w := k.w
	switch m := w.mgr; {
	case m == nil:
		out = append(out, "off")
	case m.degraded != nil:
		out = append(out, "degraded")
	default:
		out = append(out, int(m.nv-w.hw.counter), m.owed, m.unsure, m.store.Dirty() > 0, labelled(w.x.recordIn(m.store)))
	}
	if w.vt == nil {
		return append(out, "off")
	}
	return append(out, w.vt.IsNew(), labelled(w.cur), labelled(w.sent))
}

// newExploration formats a manager's disk; the vTPM's is blank.
func newExploration(fatal func(...any)) (*exploration, *world) {
	x := &exploration{rand: mrand.NewChaCha8([32]byte{10}), labels: map[[state.RecordSize]byte]int{}, hashes: map[[32]byte]int{},
		supers: map[[24]byte]superTag{}, roots: map[[28]byte]int{}}
	w := &world{x: x, mdisk: newCutDisk(store.SectorSize, diskSize), vdisk: newCutDisk(state.SectorSize, vdiskSize), hw: newTPM(), past: map[stolen]bool{}}
	m, err := New(w.config())
	if err != nil {
		fatal(err)
	}
	x.key, x.box = slices.Clone(m.secret.key[:]), m.groups[defaultGroup].box
	sectors, err := store.DeriveKey(x.key, "sectors")
	if err == nil {
		x.sectors, err = store.NewBox(sectors, x.rand)
	}
	if err == nil {
		x.probed, err = store.Probe(w.mdisk)
	}
	if err != nil {
		fatal(err)
	}
	return x, w
}

func (w *world) config() Config {
	return Config{Disk: w.mdisk, HW: w.hw, PCRs: selection, Rand: w.x.rand}
}

const vdiskSize = 8192
