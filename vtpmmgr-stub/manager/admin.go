package manager

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"xenvtpm/vtpmmgr-stub/hwtpm"
	"xenvtpm/vtpmmgr-stub/proto"
	"xenvtpm/vtpmmgr-stub/store"
)

// adminState is what lasts from one administration frame to the next. There is
// one administrator.
type adminState struct {
	pushed  []byte
	result  []byte
	keys    recoveryState
	backup  backupState
	restore restoreState
}

// adminOps are the requests by ordinal. Those that change something run on an
// open store only; what they stage is discarded when they fail.
var adminOps = map[uint32]struct {
	run     func(m *Manager, req *Request, body []byte) (any, error)
	offline bool // works on a degraded manager, too
}{
	proto.OrdStatus:          {call((*Manager).adminStatus), true},
	proto.OrdList:            {call((*Manager).adminList), false},
	proto.OrdShow:            {call((*Manager).adminShow), false},
	proto.OrdCreate:          {call((*Manager).adminCreate), false},
	proto.OrdDelete:          {call((*Manager).adminDelete), false},
	proto.OrdMove:            {call((*Manager).adminMove), false},
	proto.OrdEvents:          {call((*Manager).adminEvents), false},
	proto.OrdGroupList:       {call((*Manager).adminGroups), false},
	proto.OrdGroupCreate:     {call((*Manager).adminGroupCreate), false},
	proto.OrdGroupDelete:     {call((*Manager).adminGroupDelete), false},
	proto.OrdPolicyApply:     {call((*Manager).adminPolicy), true},
	proto.OrdProvision:       {call((*Manager).adminProvision), false},
	proto.OrdPCRs:            {call((*Manager).adminPCRs), true},
	proto.OrdBackup:          {call((*Manager).adminBackup), false},
	proto.OrdRestore:         {call((*Manager).adminRestore), false},
	proto.OrdRecovery:        {call((*Manager).adminRecovery), true},
	proto.OrdRecover:         {call((*Manager).adminRecover), true},
	proto.OrdRecoveryReplace: {call((*Manager).adminReplaceRecovery), false},
	proto.OrdAttest:          {call((*Manager).adminAttest), false},
}

// call adapts a typed operation.
func call[In any](f func(m *Manager, req *Request, in In) (any, error)) func(*Manager, *Request, []byte) (any, error) {
	return func(m *Manager, req *Request, body []byte) (any, error) {
		var in In
		if err := proto.ParseAdmin(body, &in); err != nil {
			return nil, err
		}
		return f(m, req, in)
	}
}

// adminRequest serves the administrator's frontend only.
func (m *Manager) adminRequest(req *Request, r proto.Request) answer {
	if !req.Admin {
		m.event(EventNotAdmin, req, "administration refused: not the administrator's frontend")
		return answer{result: proto.AuthFail}
	}
	switch r.Ordinal {
	case proto.OrdAdminPush:
		return m.adminPush(r.Body)
	case proto.OrdAdminFetch:
		return m.adminFetch(r.Body)
	}
	op, ok := adminOps[r.Ordinal]
	if !ok {
		return answer{result: proto.BadOrdinal}
	}
	body, res := m.adminBody(r.Body)
	if res != proto.Success {
		return answer{result: res}
	}
	if !op.offline && !m.settled() && m.degraded == nil {
		return refuse(errNotCounted)
	}
	if m.degraded != nil && !op.offline {
		return refuse(fmt.Errorf("%w: %v", errDegraded, m.degraded))
	}
	out, err := op.run(m, req, body)
	if err != nil {
		m.discard()
		m.logf("administration, ordinal 0x%x: %v", r.Ordinal, err)
		return refuse(err)
	}
	return m.adminAnswer(out)
}

// discard drops what a failed operation has staged.
func (m *Manager) discard() {
	if m.store == nil || m.degraded != nil {
		return
	}
	if err := m.store.Discard(); err != nil {
		m.degrade(err)
	}
}

func (m *Manager) adminBody(body []byte) ([]byte, proto.Result) {
	r := proto.NewReader(body)
	version, flags := r.U16(), r.U8()
	rest := r.Bytes(r.Len())
	switch {
	case r.Done() != nil:
		return nil, proto.BadParameter
	case version != proto.AdminVersion:
		return nil, proto.BadVersion
	case flags == 0:
		return rest, proto.Success
	case flags == proto.AdminPushed && len(rest) == 0:
		pushed := m.admin.pushed
		m.admin.pushed = nil
		return pushed, proto.Success
	}
	return nil, proto.BadParameter
}

func (m *Manager) adminPush(body []byte) answer {
	r := proto.NewReader(body)
	off := r.U32()
	part := r.Bytes(r.Len())
	if r.Done() != nil || len(part) == 0 {
		return answer{result: proto.BadParameter}
	}
	if off == 0 {
		m.admin.pushed = nil
	}
	if int(off) != len(m.admin.pushed) {
		return answer{result: proto.BadParameter}
	}
	if len(m.admin.pushed)+len(part) > proto.MaxAdmin {
		return answer{result: proto.Size}
	}
	m.admin.pushed = append(m.admin.pushed, part...)
	return answer{}
}

func (m *Manager) adminFetch(body []byte) answer {
	r := proto.NewReader(body)
	off := r.U32()
	switch {
	case r.Done() != nil:
		return answer{result: proto.BadParameter}
	case m.admin.result == nil:
		return answer{result: proto.NoResultPending}
	case uint64(off) > uint64(len(m.admin.result)):
		return answer{result: proto.BadParameter}
	}
	rest := m.admin.result[off:]
	return answer{body: rest[:min(len(rest), proto.MaxBody)]}
}

func (m *Manager) adminAnswer(out any) answer {
	b, err := json.Marshal(out)
	if err != nil || len(b) > proto.MaxAdmin {
		return answer{result: proto.Size}
	}
	m.admin.result = nil
	if len(b)+4 > proto.MaxBody {
		m.admin.result = b
	}
	body := binary.BigEndian.AppendUint32(nil, uint32(len(b)))
	return answer{body: append(body, b[:min(len(b), proto.MaxBody-4)]...)}
}

var (
	errDegraded   = errors.New("the manager is degraded")
	errNotCounted = errors.New("the hardware TPM does not count at present, so that nothing can be shown as durable; try again")
)

// refuse names an error to the administrator.
func refuse(err error) answer {
	res := proto.Fail
	for _, c := range []struct {
		err error
		res proto.Result
	}{
		{proto.ErrBody, proto.BadParameter}, {errBadName, proto.BadParameter},
		{hwtpm.ErrPolicy, proto.AuthFail}, {errRecovery, proto.AuthFail}, {errNotReleased, proto.AuthFail},
		{ErrAuthority, proto.AuthFail}, {ErrUnpinned, proto.AuthFail}, {ErrForeignRoot, proto.AuthFail}, {ErrUnproven, proto.AuthFail}, {ErrNarrow, proto.AuthFail}, {hwtpm.ErrForged, proto.AuthFail},
		{errBackupOrder, proto.Conflict}, {errNotWhole, proto.Conflict},
		{errStale, proto.Conflict}, {errGroupExists, proto.Conflict}, {errNotEmpty, proto.Conflict}, {errExists, proto.Conflict}, {errInUse, proto.Conflict},
		{errNoGroup, proto.BadIndex}, {errNoVTPM, proto.BadIndex},
		{errUnprovided, proto.NotProvisioned}, {errNoRecovery, proto.NotProvisioned},
		{errTooMany, proto.Size}, {store.ErrTooBig, proto.Size},
		{store.ErrFull, proto.NoSpace}, {store.ErrDamaged, proto.DamagedStore},
		{errClosed, proto.Disabled}, {hwtpm.ErrPCRMismatch, proto.Disabled},
		{hwtpm.ErrPCRBank, proto.Unavailable}, {hwtpm.ErrUnsupported, proto.Unavailable}, {errNoAttest, proto.Unavailable}, {errNotCounted, proto.Unavailable}, {hwtpm.ErrNoTPM, proto.Unavailable}, {hwtpm.ErrBusy, proto.Unavailable},
	} {
		if errors.Is(err, c.err) {
			res = c.res
			break
		}
	}
	text := err.Error()
	return answer{result: res, body: []byte(text[:min(len(text), 1000)])}
}
