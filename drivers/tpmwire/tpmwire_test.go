package tpmwire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"
)

func TestParsePacket(t *testing.T) {
	tests := []struct {
		name string
		hex  string
		want Header
		err  error
	}{
		{"empty", "", Header{}, ErrShort},
		{"nine bytes", "800100000009000001", Header{}, ErrShort},
		{"ten bytes", "80010000000a00000144", Header{TagNoSessions, 10, 0x144}, nil},
		{"size too small", "80010000000900000144", Header{TagNoSessions, 9, 0x144}, ErrSize},
		{"size too large", "80010000000b00000144", Header{TagNoSessions, 11, 0x144}, ErrSize},
		{"size all ones", "8001ffffffff00000144", Header{TagNoSessions, 0xffffffff, 0x144}, ErrSize},
		{"1.2 command", "00c10000000c000000990001", Header{TagRquCommand, 12, 0x99}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, err := hex.DecodeString(tt.hex)
			if err != nil {
				t.Fatal(err)
			}
			got, err := ParsePacket(b)
			if got != tt.want || !errors.Is(err, tt.err) {
				t.Fatalf("got %+v, %v; want %+v, %v", got, err, tt.want, tt.err)
			}
		})
	}
}

func TestErrorResponse(t *testing.T) {
	tests := []struct {
		tag  Tag
		f    Fault
		want string
	}{
		{TagNoSessions, FaultSize, "80010000000a00000142"},
		{TagSessions, FaultSize, "80010000000a00000142"},
		{TagSessions, FaultTag, "80010000000a0000001e"},
		{TagSessions, FaultFailure, "80010000000a00000101"},
		{TagNoSessions, FaultCanceled, "80010000000a00000909"},
		{TagRquCommand, FaultSize, "00c40000000a00000019"},
		{TagRquAuth1Command, FaultTag, "00c40000000a0000001e"},
		{TagRquAuth2Command, FaultFailure, "00c40000000a00000009"},
		{TagRquCommand, FaultCanceled, "00c40000000a00000009"},
		{TagVTPMRequest, FaultSize, "01c40000000a00000019"},
		{TagVTPMManage, FaultFailure, "01c50000000a00000009"},
		{TagRspCommand, FaultSize, "00c40000000a0000001e"},
		{0, FaultFailure, "00c40000000a0000001e"},
		{0xffff, FaultSize, "00c40000000a0000001e"},
	}
	for _, tt := range tests {
		got := hex.EncodeToString(ErrorResponse(tt.tag, tt.f))
		if got != tt.want {
			t.Errorf("ErrorResponse(%#x, %v) = %s, want %s", uint16(tt.tag), tt.f, got, tt.want)
		}
	}
}

func FuzzParsePacket(f *testing.F) {
	for _, s := range []string{"", "8001", "80010000000a00000144", "00c10000000c000000990001", "ffffffffffffffffffff"} {
		b, err := hex.DecodeString(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParsePacket(b)
		if err == nil && int(h.Size) != len(b) {
			t.Fatalf("accepted size %d for %d bytes", h.Size, len(b))
		}
		if len(b) >= HeaderSize && !bytes.Equal(h.Append(nil), b[:HeaderSize]) {
			t.Fatalf("header does not encode back: %x", b[:HeaderSize])
		}
		r := ErrorResponse(h.Tag, Fault(len(b)%4))
		rh, err := ParsePacket(r)
		if err != nil || rh.Code == 0 {
			t.Fatalf("error response %x: %+v, %v", r, rh, err)
		}
	})
}
