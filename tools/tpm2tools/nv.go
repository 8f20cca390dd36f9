package tpm2tools

import (
	"crypto"
	"encoding/binary"
	"strings"
)

const nvOwner = "ownerread|ownerwrite|authread|authwrite"

func testNV(x *Run) {
	data := strings.Repeat("0123456789abcdef", 128) // 2048 octets: several reads and writes
	x.write("data", data)
	x.do("tpm2_nvdefine 0x1500010 -C o -s 2048 -p pw -a "+nvOwner, "tpm2_nvwrite 0x1500010 -C o -i data",
		"tpm2_nvread 0x1500010 -C o -o read")
	x.same("data", "read")
	x.do("tpm2_nvread 0x1500010 -C 0x1500010 -P pw -s 5 --offset 16 -o read")
	if x.read("read") != "01234" {
		x.fatalf("part of the index: %q", x.read("read"))
	}
	x.deny("0x98E", "tpm2_nvread 0x1500010 -C 0x1500010 -P wrong -s 5")
	x.do("tpm2_dictionarylockout -c")
	x.has(x.do("tpm2_nvreadpublic 0x1500010"), "0x1500010", "size: 2048", "written")
	x.deny("0x14C", "tpm2_nvdefine 0x1500010 -C o -s 8 -a "+nvOwner)
	x.do("tpm2_nvundefine 0x1500010 -C o")
	x.deny("0x18B", "tpm2_nvreadpublic 0x1500010")
}

func testNVKinds(x *Run) {
	x.do("tpm2_nvdefine 0x1500020 -C o -a nt=counter|"+nvOwner, "tpm2_nvincrement 0x1500020 -C o", "tpm2_nvread 0x1500020 -C o -o a",
		"tpm2_nvincrement 0x1500020 -C o", "tpm2_nvread 0x1500020 -C o -o b")
	if a, b := binary.BigEndian.Uint64([]byte(x.read("a"))), binary.BigEndian.Uint64([]byte(x.read("b"))); b != a+1 {
		x.fatalf("counter went from %d to %d", a, b)
	}
	x.do("tpm2_nvdefine 0x1500021 -C o -a nt=bits|"+nvOwner, "tpm2_nvsetbits 0x1500021 -C o -i 0x5", "tpm2_nvsetbits 0x1500021 -C o -i 0x82",
		"tpm2_nvread 0x1500021 -C o -o bits")
	if v := binary.BigEndian.Uint64([]byte(x.read("bits"))); v != 0x87 {
		x.fatalf("bits %#x", v)
	}
	x.write("event", "an event")
	x.do("tpm2_nvdefine 0x1500022 -C o -a nt=extend|"+nvOwner, "tpm2_nvextend 0x1500022 -C o -i event", "tpm2_nvread 0x1500022 -C o -o ext")
	if want := sum(crypto.SHA256, string(make([]byte, 32)), "an event"); x.read("ext") != want {
		x.fatalf("extended to %x, want %x", x.read("ext"), want)
	}
	x.write("data", "12345678")
	x.do("tpm2_nvdefine 0x1500023 -C o -s 8 -a read_stclear|write_stclear|"+nvOwner, "tpm2_nvwrite 0x1500023 -C o -i data",
		"tpm2_nvwritelock 0x1500023 -C o")
	x.deny("0x148", "tpm2_nvwrite 0x1500023 -C o -i data")
	x.do("tpm2_nvread 0x1500023 -C o -o read", "tpm2_nvreadlock 0x1500023 -C o")
	x.deny("0x148", "tpm2_nvread 0x1500023 -C o -s 8")
	x.do("tpm2_nvdefine 0x1500024 -C o -s 8 -a globallock|"+nvOwner, "tpm2_nvwrite 0x1500024 -C o -i data", "tpm2_nvwritelock -C o --global")
	x.deny("0x148", "tpm2_nvwrite 0x1500024 -C o -i data")
}

// An index with policydelete goes by policy only.
func testNVSpecial(x *Run) {
	x.session("trial")
	x.do("tpm2_policycommandcode -S s.ses -L policy TPM2_CC_NV_UndefineSpaceSpecial")
	x.endSession()
	x.do("tpm2_nvdefine 0x1500030 -C p -s 8 -a platformcreate|policydelete|ppread|ppwrite|authread|authwrite -L policy")
	x.fails("policy session", "tpm2_nvundefine 0x1500030 -C p")
	x.session("policy")
	x.do("tpm2_policycommandcode -S s.ses TPM2_CC_NV_UndefineSpaceSpecial", "tpm2_nvundefine 0x1500030 -S s.ses")
	x.endSession()
	x.deny("0x18B", "tpm2_nvreadpublic 0x1500030")
}
