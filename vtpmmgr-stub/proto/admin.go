package proto

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Administration: frames of TagMgmt, from the administrator's frontend only.
//
// A request's body is u16 version, u8 flags, and a JSON object; with AdminPushed
// the object was sent before, in parts, with OrdAdminPush. An answer's body is
// u32 length of the JSON object and as much of it as fits; OrdAdminFetch gets the
// rest. JSON, because this is a few requests a day of a trusted client, and an
// operator can read it in a trace. Unknown fields are refused on either side.

// Ordinals under TagMgmt. Upstream's lie below 0x02001000.
const (
	OrdAdminFetch      uint32 = 0x02001000 // u32 offset -> u32 length, part
	OrdAdminPush       uint32 = 0x02001001 // u32 offset, part -> nothing; offset 0 starts anew
	OrdStatus          uint32 = 0x02001010
	OrdList            uint32 = 0x02001011
	OrdShow            uint32 = 0x02001012
	OrdCreate          uint32 = 0x02001013
	OrdDelete          uint32 = 0x02001014
	OrdMove            uint32 = 0x02001015
	OrdEvents          uint32 = 0x02001016
	OrdGroupList       uint32 = 0x02001020
	OrdGroupCreate     uint32 = 0x02001021
	OrdGroupDelete     uint32 = 0x02001022
	OrdPolicyApply     uint32 = 0x02001023
	OrdProvision       uint32 = 0x02001024
	OrdPCRs            uint32 = 0x02001025
	OrdBackup          uint32 = 0x02001030
	OrdRestore         uint32 = 0x02001031
	OrdRecovery        uint32 = 0x02001032 // what a recovery needs
	OrdRecover         uint32 = 0x02001033
	OrdRecoveryReplace uint32 = 0x02001034
	OrdAttest          uint32 = 0x02001040
)

// AdminVersion of the administration protocol.
const AdminVersion = 1

// AdminPushed says that the object was pushed.
const AdminPushed = 1

// MaxAdmin is the longest JSON object either way, in bytes.
const MaxAdmin = 64 << 10

// MarshalText makes a UUID readable in JSON.
func (u UUID) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// UnmarshalText is MarshalText's inverse.
func (u *UUID) UnmarshalText(b []byte) (err error) {
	*u, err = ParseUUID(string(b))
	return err
}

// Empty is a request or an answer without fields.
type Empty struct{}

// Status is the answer to OrdStatus.
type Status struct {
	Manager       UUID   `json:"manager"`
	Degraded      string `json:"degraded,omitempty"` // why keys are refused
	Recoverable   bool   `json:"recoverable"`        // degraded, but the recovery key would open the store
	Provisioned   bool   `json:"provisioned"`        // the root opens under an approved policy
	Authority     string `json:"authority,omitempty"`
	AuthorityHash string `json:"authority_sha256,omitempty"` // as authority= takes it
	Pinned        bool   `json:"authority_pinned"`           // authority= names it
	Sequence      uint64 `json:"policy_sequence"`
	Recovery      bool   `json:"recovery_key"` // a recovery key was given
	RecoveryKey   string `json:"recovery_key_fingerprint,omitempty"`
	RecoveryBox   string `json:"recovery_box_fingerprint,omitempty"` // to keep with the recovery key
	PCRs          string `json:"pcrs"`                               // of the local policy
	Rollback      string `json:"rollback"`                           // strict or off
	Counter       uint64 `json:"counter"`
	Commit        uint64 `json:"commit"`
	VTPMs         uint64 `json:"vtpms"`
	Open          int    `json:"open"`
	Groups        int    `json:"groups"`
	FreeSectors   uint32 `json:"free_sectors"`
	Sectors       uint32 `json:"sectors"`
	Requests      uint64 `json:"requests"`
	Saves         uint64 `json:"saves"`
	Loads         uint64 `json:"loads"`
	Commits       uint64 `json:"commits"`
	Refusals      uint64 `json:"refusals"`
}

// ListRequest asks for vTPMs in order of uuid.
type ListRequest struct {
	Group *UUID `json:"group,omitempty"` // of this group only
	After *UUID `json:"after,omitempty"` // beginning behind this one
}

// VTPM describes a vTPM.
type VTPM struct {
	UUID    UUID   `json:"uuid"`
	Group   UUID   `json:"group"`
	Saved   bool   `json:"saved"`             // has a record
	Saves   uint64 `json:"saves"`             // since it was created
	Created uint64 `json:"created,omitempty"` // Unix seconds
	Domain  *int   `json:"domain,omitempty"`  // that has it open
	Error   string `json:"error,omitempty"`   // the entry cannot be read
}

// List is the answer to OrdList. More says that others follow the last one.
type List struct {
	VTPMs []VTPM   `json:"vtpms"`
	More  bool     `json:"more"`
	Bad   []string `json:"damaged,omitempty"` // places that cannot be read
}

// Target names a vTPM, or a vTPM and a group. Release is the leave of the
// authority whose group it leaves (hwtpm.Release), for OrdMove.
type Target struct {
	UUID    UUID   `json:"uuid"`
	Group   *UUID  `json:"group,omitempty"`
	Release []byte `json:"release,omitempty"`
}

// Group describes a group.
type Group struct {
	ID        UUID     `json:"id"`
	Name      string   `json:"name"`
	Open      bool     `json:"open"`
	Why       string   `json:"why,omitempty"` // it is closed
	Authority string   `json:"authority,omitempty"`
	Sequence  uint64   `json:"policy_sequence"`
	States    []string `json:"states,omitempty"` // approved: "sha256:0-7 <digest>"
	VTPMs     *int     `json:"vtpms,omitempty"`
}

// GroupsRequest asks for groups in order of uuid, or for one of them (ID) with
// its approved states and its number of vTPMs.
type GroupsRequest struct {
	ID    *UUID `json:"id,omitempty"`
	After *UUID `json:"after,omitempty"` // beginning behind this one
}

// Groups is the answer to OrdGroupList. More says that others follow.
type Groups struct {
	Groups []Group `json:"groups"`
	More   bool    `json:"more"`
}

// GroupCreate makes a group, or (as OrdProvision) gives the root an authority.
type GroupCreate struct {
	ID        UUID   `json:"id"` // zero for OrdProvision
	Name      string `json:"name"`
	Authority []byte `json:"authority"` // TPMT_PUBLIC
	Policy    []byte `json:"policy"`    // hwtpm.PolicyList, signed
	Recovery  []byte `json:"recovery,omitempty"`
}

// GroupDelete deletes an empty group.
type GroupDelete struct {
	ID UUID `json:"id"`
}

// PolicyApply replaces a group's approved states. The list names the group.
type PolicyApply struct {
	Policy []byte `json:"policy"`
}

// PCRsRequest asks for hardware PCRs.
type PCRsRequest struct {
	Alg  uint16 `json:"alg"`
	Mask uint32 `json:"mask"`
}

// PCRs is the answer: the values in rising order.
type PCRs struct {
	Values [][]byte `json:"values"`
}

// EventsRequest asks for events from a sequence number on.
type EventsRequest struct {
	From uint64 `json:"from"`
}

// Event is one entry of the manager's log of security events.
type Event struct {
	Seq    uint64 `json:"seq"`
	Time   uint64 `json:"time,omitempty"` // Unix seconds
	Kind   string `json:"kind"`
	Count  uint32 `json:"count"` // how often, in a row
	Domain uint16 `json:"domain"`
	UUID   UUID   `json:"uuid"`
	Text   string `json:"text"`
}

// Events is the answer to OrdEvents.
type Events struct {
	Events []Event `json:"events"`
	More   bool    `json:"more"`
}

// RecoveryInfo is what is taken to where the recovery key is kept.
type RecoveryInfo struct {
	Manager UUID   `json:"manager"`
	Box     []byte `json:"box"`           // the root secret, to the recovery key
	Key     []byte `json:"key,omitempty"` // public half of that key, where it is known
	Session []byte `json:"session"`       // this run's public key, for the way back

	// Quote (TPMS_ATTEST) by the manager's attestation key over the session key
	// (SessionQualifying), where the store is open.
	Quote     []byte `json:"quote,omitempty"`
	Signature []byte `json:"quote_signature,omitempty"`
}

// SessionQualifying is a quote's extraData for a recovery session's key.
func SessionQualifying(session []byte) [32]byte {
	return sha256.Sum256(append([]byte("xenvtpm recovery session key 1\x00"), session...))
}

// Recover brings the root secret back, from the recovery key (whose public half
// is Key) to the session's key. For Backup it opens a backup of another manager
// instead of this one's store.
type Recover struct {
	Box    []byte `json:"box"`
	Key    []byte `json:"key"`
	Backup bool   `json:"backup,omitempty"`
}

// RecoveryReplace gives the manager another recovery key.
type RecoveryReplace struct {
	Statement []byte `json:"statement"` // hwtpm.RecoveryKey, signed by the root's authority
}

// AttestRequest asks for what a verifier needs to know of the manager. With a
// challenge (TPM2_MakeCredential for the endorsement key and AK's Name) the
// answer proves that both live in one TPM.
type AttestRequest struct {
	Credential []byte `json:"credential,omitempty"`
	Secret     []byte `json:"secret,omitempty"`
}

// Attest is the answer. Publics are TPMT_PUBLIC, certificates DER.
type Attest struct {
	Manager       UUID   `json:"manager"`
	EKPublic      []byte `json:"ek_public"`
	EKCertificate []byte `json:"ek_certificate,omitempty"` // the manufacturer's
	AKPublic      []byte `json:"ak_public"`
	CAPublic      []byte `json:"ca_public"`
	CACertificate []byte `json:"ca_certificate"`
	Certify       []byte `json:"certify"` // TPMS_ATTEST over the CA key, by AK
	CertifySig    []byte `json:"certify_signature"`
	Activated     []byte `json:"activated,omitempty"`
}

// ParseAdmin reads a JSON object into out, and nothing else.
func ParseAdmin(b []byte, out any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(out); err != nil {
		return ErrBody
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return ErrBody
	}
	return nil
}

// Admin sends one administration request and reads its answer into out.
func (c *Client) Admin(ordinal uint32, in, out any) error {
	req, err := json.Marshal(in)
	if err != nil {
		return err
	}
	if len(req) > MaxAdmin {
		return ErrTooLong
	}
	body, err := c.adminSend(ordinal, req)
	if err != nil {
		return err
	}
	r := NewReader(body)
	total := r.U32()
	got := bytes.Clone(r.Bytes(r.Len()))
	if r.Done() != nil || total > MaxAdmin || uint32(len(got)) > total {
		return ErrBody
	}
	for uint32(len(got)) < total {
		part, err := c.Call(TagMgmt, OrdAdminFetch, binary.BigEndian.AppendUint32(nil, uint32(len(got))))
		if err != nil {
			return err
		}
		if len(part) == 0 || uint32(len(got)+len(part)) > total {
			return ErrBody
		}
		got = append(got, part...)
	}
	if err := ParseAdmin(got, out); err != nil {
		return fmt.Errorf("answer to ordinal 0x%x: %w", ordinal, err)
	}
	return nil
}

func (c *Client) adminSend(ordinal uint32, req []byte) ([]byte, error) {
	head := []byte{0, AdminVersion, 0}
	if len(head)+len(req) <= MaxBody {
		return c.Call(TagMgmt, ordinal, append(head, req...))
	}
	const part = MaxBody - 4
	for off := 0; off < len(req); off += part {
		body := binary.BigEndian.AppendUint32(nil, uint32(off))
		body = append(body, req[off:min(off+part, len(req))]...)
		if _, err := c.Call(TagMgmt, OrdAdminPush, body); err != nil {
			return nil, err
		}
	}
	head[2] = AdminPushed
	return c.Call(TagMgmt, ordinal, head)
}
