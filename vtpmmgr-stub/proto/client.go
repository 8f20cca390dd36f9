package proto

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// Sender carries one frame to the manager and its answer back. tpmfront's
// Device is one.
type Sender interface {
	Send(frame []byte) ([]byte, error)
}

// Client is a vTPM's side of the protocol. It works against this project's
// manager and, for ordinals 1 to 3 and GetRandom, against Xen's.
type Client struct {
	S Sender
}

// ErrNoRecord says that the manager knows no record for this uuid. Only this
// answer may be taken as "never saved"; every other error may not.
var ErrNoRecord = errors.New("proto: the manager has no record for this vTPM")

// Call sends one request and returns the body of its answer. A refusal is
// returned as a Result.
func (c *Client) Call(tag Tag, ordinal uint32, body []byte) ([]byte, error) {
	frame, err := Request{Tag: tag, Ordinal: ordinal, Body: body}.Append(nil)
	if err != nil {
		return nil, err
	}
	ans, err := c.S.Send(frame)
	if err != nil {
		return nil, fmt.Errorf("ordinal 0x%x to the manager: %w", ordinal, err)
	}
	rsp, err := ParseResponse(ans)
	if err != nil {
		return nil, err
	}
	// Upstream's dispatcher answers errors with the request's tag plus 3, which
	// for TagMgmt is 0x01C5.
	if rsp.Tag != ResponseTag(tag) && !(rsp.Result != Success && rsp.Tag == tag+3) {
		return nil, ErrTag
	}
	if rsp.Result != Success && tag == TagMgmt && len(rsp.Body) > 0 {
		return nil, fmt.Errorf("%w: %s", rsp.Result, cleanText(rsp.Body))
	}
	if rsp.Result != Success {
		return nil, rsp.Result
	}
	return rsp.Body, nil
}

// cleanText makes an answer's text safe for a terminal.
func cleanText(b []byte) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7F || c == '\uFFFD' {
			return '?'
		}
		return c
	}, string(b[:min(len(b), 1000)]))
}

// SaveHashKey stores the record. On return without error it is durable.
func (c *Client) SaveHashKey(r Record) error {
	body, err := c.Call(TagVTPM, OrdSaveHashKey, r[:])
	if err != nil {
		return err
	}
	if len(body) != 0 {
		return ErrBody
	}
	return nil
}

// LoadHashKey fetches the record, ErrNoRecord if there is none.
func (c *Client) LoadHashKey() (Record, error) {
	body, err := c.Call(TagVTPM, OrdLoadHashKey, nil)
	if errors.Is(err, BadParameter) {
		return Record{}, ErrNoRecord
	}
	if err != nil {
		return Record{}, err
	}
	return ParseSave(body)
}

// BootHash fetches the 20 bytes of GET_BOOT_HASH.
func (c *Client) BootHash() ([BootHashSize]byte, error) {
	var h [BootHashSize]byte
	body, err := c.Call(TagVTPM, OrdGetBootHash, nil)
	if err != nil {
		return h, err
	}
	if len(body) != len(h) {
		return h, ErrBody
	}
	return [BootHashSize]byte(body), nil
}

// Hello asks for version and identity. A stock manager answers BadOrdinal.
func (c *Client) Hello() (Hello, error) {
	body, err := c.Call(TagVTPM, OrdHello, nil)
	if err != nil {
		return Hello{}, err
	}
	return ParseHello(body)
}

// GetRandom fetches up to n bytes from the hardware TPM; it may return fewer,
// but at least one.
func (c *Client) GetRandom(n int) ([]byte, error) {
	body, err := c.Call(TagRqu, OrdTPMGetRandom, binary.BigEndian.AppendUint32(nil, uint32(n)))
	if err != nil {
		return nil, err
	}
	r := NewReader(body)
	got := r.Bytes(int(r.U32()))
	if err := r.Done(); err != nil {
		return nil, err
	}
	if len(got) == 0 || len(got) > n {
		return nil, ErrBody
	}
	return got, nil
}

// PCRRead fetches a hardware PCR of the SHA-1 bank as a TPM 1.2 would.
func (c *Client) PCRRead(index int) ([20]byte, error) {
	body, err := c.Call(TagRqu, OrdTPMPcrRead, binary.BigEndian.AppendUint32(nil, uint32(index)))
	if err != nil {
		return [20]byte{}, err
	}
	if len(body) != 20 {
		return [20]byte{}, ErrBody
	}
	return [20]byte(body), nil
}

// HwPCRs fetches hardware PCRs of one bank in rising order.
func (c *Client) HwPCRs(s PCRSelection) ([][]byte, error) {
	body, err := c.Call(TagVTPM, OrdHwPCRRead, s.Append(binary.BigEndian.AppendUint16(nil, Version)))
	if err != nil {
		return nil, err
	}
	size := DigestSize(s.Alg)
	if size == 0 || len(body) != size*s.Count() {
		return nil, ErrBody
	}
	out := make([][]byte, 0, s.Count())
	for ; len(body) > 0; body = body[size:] {
		out = append(out, body[:size:size])
	}
	return out, nil
}
