package guest

import (
	"encoding/binary"
	"fmt"
)

// notAdmin is for a guest that the toolstack has connected to the manager
// itself: whatever it asks of the administrator's requests must be refused.
func notAdmin(s *Session) error {
	d, err := s.device()
	if err != nil {
		return err
	}
	const authFail = 1
	for _, c := range []struct {
		what    string
		ordinal uint32
		body    string
	}{
		{"status", 0x02001010, "{}"}, {"list", 0x02001011, "{}"}, {"backup", 0x02001030, "{}"},
		{"delete", 0x02001014, `{"uuid":"7d8e7f6a-2a51-4c63-9d0e-0b8c5f1e2a01"}`},
		{"fetch", 0x02001000, ""}, {"upstream's management", 0x02000101, ""},
	} {
		body := append([]byte{0, 1, 0}, c.body...)
		cmd := binary.BigEndian.AppendUint16(nil, 0x01C2)
		cmd = binary.BigEndian.AppendUint32(cmd, uint32(10+len(body)))
		cmd = append(binary.BigEndian.AppendUint32(cmd, c.ordinal), body...)
		rsp, err := d.Send(cmd)
		if err == nil && (Code(rsp) != authFail || binary.BigEndian.Uint16(rsp) != 0x01C4) {
			err = fmt.Errorf("answer %x", rsp)
		}
		s.Check("a guest that asks the manager for "+c.what+" gets AUTHFAIL", err)
	}
	return nil
}
