package report

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestRecordsSurviveTheChannel(t *testing.T) {
	var buf bytes.Buffer
	w := NewWriter(&buf)
	in := []Record{
		{Kind: Log, Text: "hello"},
		{Kind: Console, Source: "vtpm", Text: "tab\t quote\" \x1b[0m"},
		{Kind: Metric, Name: "rtt", Value: 1.5, Unit: "ms"},
		{Kind: Done, OK: true},
		{Kind: Log, Text: "after the end"},
	}
	for _, r := range in {
		if err := w.Send(r); err != nil {
			t.Fatal(err)
		}
	}
	var got []Record
	done, err := Read(&buf, func(r Record) { r.At = 0; got = append(got, r) })
	if err != nil || !done.OK {
		t.Fatalf("Read = %+v, %v", done, err)
	}
	if len(got) != 4 {
		t.Fatalf("got %d records, want 4: reading must stop at Done", len(got))
	}
	for i := range got {
		if got[i] != in[i] {
			t.Errorf("record %d is %+v, want %+v", i, got[i], in[i])
		}
	}
}

func TestReadReportsATornStream(t *testing.T) {
	var texts []string
	_, err := Read(strings.NewReader("{\"kind\":\"log\",\"text\":\"a\"}\nnot json\n{\"ki"), func(r Record) { texts = append(texts, r.Text) })
	if !errors.Is(err, ErrEnded) {
		t.Errorf("err = %v, want ErrEnded", err)
	}
	if strings.Join(texts, "|") != "a|not json|{\"ki" {
		t.Errorf("texts = %q", texts)
	}
}

func TestReadConsoleFindsRecords(t *testing.T) {
	in := "\x1bcSeaBIOS\r\n[ 1.0] kernel\r\nLAB {\"kind\":\"metric\",\"name\":\"x\",\"value\":2}\r\nLAB {torn\r\nLAB {\"kind\":\"done\",\"ok\":true}\r\n"
	var kinds []string
	done, err := ReadConsole(strings.NewReader(in), func(r Record) { kinds = append(kinds, string(r.Kind)) })
	if err != nil || !done.OK {
		t.Fatalf("ReadConsole = %+v, %v", done, err)
	}
	if got := strings.Join(kinds, " "); got != "console console metric console done" {
		t.Errorf("kinds = %s", got)
	}
	if _, err := ReadConsole(strings.NewReader("LAB {\"kind\":\"log\"}\n"), func(Record) {}); !errors.Is(err, ErrEnded) {
		t.Errorf("err = %v, want ErrEnded", err)
	}
}

func TestLongTextsAreCut(t *testing.T) {
	var buf bytes.Buffer
	if err := NewWriter(&buf).Send(Record{Kind: Log, Text: strings.Repeat("x", 1<<20)}); err != nil {
		t.Fatal(err)
	}
	if buf.Len() > MaxLine {
		t.Errorf("a record has %d bytes, more than %d", buf.Len(), MaxLine)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("{\"kind\":\"done\",\"ok\":true}\n"))
	f.Add([]byte("{\"kind\":1}\n\x00\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		done, err := Read(bytes.NewReader(in), func(Record) {})
		if err == nil && done.Kind != Done {
			t.Fatalf("Read returned %+v without an error", done)
		}
	})
}
