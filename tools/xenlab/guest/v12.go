package guest

import (
	"encoding/binary"
	"fmt"
)

// TPM 1.2 tags and ordinals (TPM Main Part 2, structures).
const (
	tagRequest  = 0x00C1
	tagResponse = 0x00C4

	ordExtend    = 0x14
	ordPCRRead   = 0x15
	ordGetRandom = 0x46

	codeFail12 = 9
)

// frame12 builds an unauthorised TPM 1.2 command.
func frame12(ordinal uint32, body []byte) []byte {
	f := binary.BigEndian.AppendUint16(nil, tagRequest)
	f = binary.BigEndian.AppendUint32(f, uint32(10+len(body)))
	f = binary.BigEndian.AppendUint32(f, ordinal)
	return append(f, body...)
}

// send12 executes a TPM 1.2 command and returns the body of a good response.
func (d *Device) send12(ordinal uint32, body []byte) ([]byte, error) {
	rsp, err := d.Send(frame12(ordinal, body))
	if err != nil {
		return nil, err
	}
	if tag := binary.BigEndian.Uint16(rsp); tag != tagResponse {
		return nil, fmt.Errorf("TPM 1.2 ordinal %#x: response tag %#x", ordinal, tag)
	}
	if c := Code(rsp); c != 0 {
		return nil, fmt.Errorf("TPM 1.2 ordinal %#x: error %d", ordinal, c)
	}
	return rsp[10:], nil
}

// PCRRead12 reads a SHA-1 PCR by a TPM 1.2 frame.
func (d *Device) PCRRead12(pcr uint32) ([20]byte, error) {
	return digest12(d.send12(ordPCRRead, binary.BigEndian.AppendUint32(nil, pcr)))
}

// Extend12 extends a PCR by a TPM 1.2 frame and returns its new value.
func (d *Device) Extend12(pcr uint32, digest [20]byte) ([20]byte, error) {
	body := append(binary.BigEndian.AppendUint32(nil, pcr), digest[:]...)
	return digest12(d.send12(ordExtend, body))
}

func digest12(body []byte, err error) ([20]byte, error) {
	if err == nil && len(body) != 20 {
		err = fmt.Errorf("a TPM 1.2 digest of %d bytes", len(body))
	}
	var out [20]byte
	copy(out[:], body)
	return out, err
}

// GetRandom12 asks for random bytes by a TPM 1.2 frame.
func (d *Device) GetRandom12(n uint32) ([]byte, error) {
	body, err := d.send12(ordGetRandom, binary.BigEndian.AppendUint32(nil, n))
	if err != nil {
		return nil, err
	}
	if len(body) < 4 || int(binary.BigEndian.Uint32(body)) != len(body)-4 {
		return nil, fmt.Errorf("TPM 1.2 GetRandom: a body of %d bytes with a wrong length", len(body))
	}
	return body[4:], nil
}
