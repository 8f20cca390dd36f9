package manager

import (
	"encoding/binary"
	"errors"

	"xenvtpm/vtpmmgr-stub/proto"
)

// maxDirty bounds the memory of one commit, in tree nodes of up to 8 KiB.
const maxDirty = 256

// answer is what became of a request: to be sent now, or once its commit is
// durable.
type answer struct {
	result proto.Result
	body   []byte
	staged bool
}

// Handle serves a batch of requests, at most one of each client, and returns
// their answers in the same order. All saves of the batch share one commit; the
// rest comes after it.
func (m *Manager) Handle(batch []Request) [][]byte {
	out := make([][]byte, len(batch))
	m.answerAll(batch, func(i int, rsp []byte) { out[i] = rsp })
	return out
}

// answerAll gives the answer to each request of a batch to reply, as soon as
// there is one: saves first, right after their commit.
func (m *Manager) answerAll(batch []Request, reply func(i int, rsp []byte)) {
	m.stuck = nil
	var waiting []int
	send := func(i int, a answer) {
		if a.result != proto.Success {
			m.Metrics.Refusals++
		}
		reply(i, proto.AppendResponse(nil, frameTag(batch[i].Frame), a.result, a.body))
	}
	settle := func() {
		if len(waiting) == 0 {
			return
		}
		result := m.settle(len(waiting))
		for _, i := range waiting {
			send(i, answer{result: result})
		}
		waiting = waiting[:0]
	}
	for i := range batch {
		m.Metrics.Requests++
		if !isSave(batch[i].Frame) {
			continue
		}
		if a := m.one(&batch[i]); a.staged {
			waiting = append(waiting, i)
		} else {
			send(i, a)
		}
		if m.store != nil && m.store.Dirty() > maxDirty {
			settle()
		}
	}
	settle()
	for i := range batch {
		if !isSave(batch[i].Frame) {
			send(i, m.one(&batch[i]))
		}
	}
}

// isSave: a request whose answer waits for a commit.
func isSave(frame []byte) bool {
	r, err := proto.ParseRequest(frame)
	return err == nil && r.Tag == proto.TagVTPM && r.Ordinal == proto.OrdSaveHashKey
}

// frameTag is the tag of a frame, 0 if it has none.
func frameTag(frame []byte) proto.Tag {
	if len(frame) < 2 {
		return 0
	}
	return proto.Tag(binary.BigEndian.Uint16(frame))
}

// settle commits the saves that were staged, and is their result. What is refused
// does not stay staged: it would become durable with somebody else's commit,
// when its vTPM has gone on from another state.
func (m *Manager) settle(saves int) proto.Result {
	if m.degraded != nil {
		return proto.Fail
	}
	defer m.console.charge(all)()
	err := m.commit(nil)
	if err == nil {
		m.Metrics.Saves += uint64(saves)
		return proto.Success
	}
	if !m.passing(err) {
		m.degrade(err)
		return proto.Fail
	}
	m.logf("saves refused for now, the hardware TPM does not count: %v", err)
	m.discard()
	return proto.Fail
}

// one dispatches a request.
func (m *Manager) one(req *Request) answer {
	defer m.console.serving(req)()
	r, err := proto.ParseRequest(req.Frame)
	if err != nil {
		return answer{result: proto.BadParameter}
	}
	switch r.Tag {
	case proto.TagVTPM:
		return m.vtpmRequest(req, r)
	case proto.TagMgmt:
		return m.adminRequest(req, r)
	case proto.TagRqu:
		return m.passThrough(r)
	case proto.TagRquAuth1, proto.TagRquAuth2:
		return answer{result: proto.DisabledCmd}
	default:
		return answer{result: proto.BadTag}
	}
}

func (m *Manager) vtpmRequest(req *Request, r proto.Request) answer {
	switch r.Ordinal {
	case proto.OrdSaveHashKey:
		rec, err := proto.ParseSave(r.Body)
		if err != nil {
			return answer{result: proto.BadParameter}
		}
		if m.degraded != nil {
			return answer{result: proto.Fail}
		}
		res := m.save(req, rec)
		return answer{result: res, staged: res == proto.Success}
	case proto.OrdLoadHashKey:
		if len(r.Body) != 0 {
			return answer{result: proto.BadParameter}
		}
		if !m.settled() {
			return answer{result: proto.Fail}
		}
		res, body := m.load(req)
		return answer{result: res, body: body}
	case proto.OrdGetBootHash:
		// Upstream gives the hash of the peer's XSM label. This manager decides by
		// uuid and asks for no labels, so it answers zeros, as upstream does before
		// it knows better.
		return ifEmpty(r.Body, make([]byte, proto.BootHashSize))
	case proto.OrdHello:
		return ifEmpty(r.Body, m.hello().Append(nil))
	case proto.OrdHwPCRRead:
		return m.hwPCRRead(r.Body)
	case proto.OrdCertifyKey:
		return m.certifyKey(req, r.Body)
	case proto.OrdDeepQuote:
		return m.deepQuote(req, r.Body)
	case proto.OrdGetQuote: // a TPM 1.2 quote; see OrdDeepQuote
		return answer{result: proto.DisabledCmd}
	default:
		return answer{result: proto.BadOrdinal}
	}
}

func ifEmpty(request, body []byte) answer {
	if len(request) != 0 {
		return answer{result: proto.BadParameter}
	}
	return answer{body: body}
}

func (m *Manager) hello() proto.Hello {
	h := proto.Hello{Version: proto.Version}
	if m.degraded != nil {
		h.Flags |= proto.HelloDegraded
	}
	if m.c.RollbackOff {
		h.Flags |= proto.HelloNoRollback
	}
	if m.c.TPM12 {
		h.Flags |= proto.HelloTPM12
	}
	if m.store != nil {
		h.Manager = m.store.ID()
		if _, b, err := m.rootBinding(); err == nil && b.Auth != nil {
			h.Flags |= proto.HelloProvisioned
		}
	}
	return h
}

func (m *Manager) hwPCRRead(body []byte) answer {
	sel, err := proto.ParseHwPCRRead(body)
	if err != nil {
		if errors.Is(err, proto.BadVersion) {
			return answer{result: proto.BadVersion}
		}
		return answer{result: proto.BadParameter}
	}
	values, ok := m.pcrs(sel)
	if !ok {
		return answer{result: proto.Unavailable}
	}
	var out []byte
	for _, v := range values {
		out = append(out, v...)
	}
	return answer{body: out}
}

func (m *Manager) pcrs(sel proto.PCRSelection) ([][]byte, bool) {
	if m.c.HW == nil {
		return nil, false
	}
	values, err := m.c.HW.PCRs(sel)
	if err != nil {
		m.logf("hardware PCRs: %v", err)
		return nil, false
	}
	return values, true
}

// passThrough answers the plain TPM 1.2 frames that upstream lets through,
// translated to TPM 2.0 where the hardware is one: GetRandom and PcrRead (of the
// SHA-1 bank); and what Linux asks a TPM first. Everything else, Extend included,
// is refused.
func (m *Manager) passThrough(r proto.Request) answer {
	switch r.Ordinal {
	case proto.OrdTPMGetRandom:
		n, err := proto.ParseGetRandom(r.Body)
		if err != nil {
			return answer{result: proto.BadParameter}
		}
		return m.random(n)
	case proto.OrdTPMPcrRead:
		pcr, err := proto.ParsePcrRead(r.Body)
		switch {
		case err != nil:
			return answer{result: proto.BadParameter}
		case pcr > 23:
			return answer{result: proto.BadIndex}
		}
		values, ok := m.pcrs(proto.PCRSelection{Alg: proto.AlgSHA1, Mask: 1 << pcr})
		if !ok || len(values) != 1 {
			return answer{result: proto.Fail}
		}
		return answer{body: values[0]}
	case proto.OrdTPMGetCapability:
		return capability(r.Body)
	default:
		return answer{result: proto.DisabledCmd}
	}
}

// capability answers the two questions that Linux's xen-tpmfront asks when the
// administrator's domain attaches to the manager (xen-vtpm facts 1.5): TIS
// time-outs and command durations, in microseconds. Without them the kernel logs
// errors, though it goes on.
func capability(body []byte) answer {
	r := proto.NewReader(body)
	area, size, sub := r.U32(), r.U32(), r.U32()
	const property, tisTimeout, tisDuration = 5, 0x115, 0x120
	if r.Done() != nil || size != 4 {
		return answer{result: proto.BadParameter}
	}
	var values []uint32
	switch {
	case area == property && sub == tisTimeout:
		values = []uint32{750_000, 2_000_000, 750_000, 750_000}
	case area == property && sub == tisDuration:
		values = []uint32{3_000_000, 60_000_000, 120_000_000}
	default:
		return answer{result: proto.DisabledCmd}
	}
	out := binary.BigEndian.AppendUint32(nil, uint32(4*len(values)))
	for _, v := range values {
		out = binary.BigEndian.AppendUint32(out, v)
	}
	return answer{body: out}
}

// random gives at most 64 bytes: a TPM 1.2 may give fewer than asked for, and a
// client must not hold the hardware for longer.
func (m *Manager) random(n uint32) answer {
	if n == 0 {
		return answer{body: make([]byte, 4)}
	}
	if m.c.HW == nil {
		return answer{result: proto.Fail}
	}
	b, err := m.c.HW.GetRandom(int(min(n, 64)))
	if err != nil {
		m.logf("hardware random: %v", err)
		return answer{result: proto.Fail}
	}
	return answer{body: append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)}
}
