package xlconf

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for name, tt := range map[string]struct{ text, kernel string }{
		"double quotes":        {`kernel = "/a/b"`, "/a/b"},
		"single quotes":        {"kernel='/a/b'\n", "/a/b"},
		"the other quote":      {`kernel = "/a'b"`, "/a'b"},
		"hash in a string":     {`kernel = "/a#b" # c`, "/a#b"},
		"semicolons":           {`name="x"; kernel="/k";`, "/k"},
		"commented out":        {"#kernel=\"/no\"\nkernel=\"/k\"", "/k"},
		"kernel in a string":   {`extra = "kernel='/no'"` + "\nkernel = '/k'", "/k"},
		"kernel in a list":     {"disk = [\n 'kernel=\"/no\"', # ]\n]\nkernel='/k'", "/k"},
		"lists, numbers":       {"a=[]\nb=[1,[0x1f,'x',],\n'y']\nmemory=16\nkernel='/k'", "/k"},
		"tabs, no last line":   {"\tkernel\t=\t'/k'\t", "/k"},
		"letters beyond ASCII": {"# Grüße\nextra='ü'\nkernel='/k'", "/k"},
	} {
		f, err := Parse([]byte(tt.text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got, err := f.Text("kernel"); err != nil || got != tt.kernel {
			t.Errorf("%s: kernel is %q (%v)", name, got, err)
		}
	}
}

// What xl could read in another way than this package is refused.
func TestParseRefuses(t *testing.T) {
	for name, tt := range map[string]struct{ text, want string }{
		"set twice":            {"kernel='/a'\nkernel='/b'", "line 2: kernel is set a second time"},
		"appended":             {"kernel='/a'\nkernel+='b'", "line 2: there must be ="},
		"backslash":            {`kernel="/a\x2fb"`, "line 1: a string has a backslash"},
		"open string":          {"kernel=\"/a\nb\"", "line 1: the string does not end"},
		"open at the end":      {"kernel='/a", "does not end"},
		"no quotes":            {"kernel=/a", "a value must be"},
		"word as a value":      {"kernel=a", "a value must be"},
		"no value":             {"kernel=\n'/a'", "line 1: a value must be"},
		"two on a line":        {"a=1 kernel='/a'", "more behind the value of a"},
		"strings side by side": {"kernel='/a' '/b'", "more behind the value of kernel"},
		"upper case":           {"Kernel='/a'", "must begin with a name"},
		"digit first":          {"1a=1", "must begin with a name"},
		"name alone":           {"kernel", "there must be ="},
		"list does not end":    {"a=['x',", "a value must be"},
		"list without commas":  {"a=['x' 'y']", "a comma or ]"},
		"comma alone":          {"a=[,]", "a value must be"},
		"deep list":            {"a=" + strings.Repeat("[", 20), "lists in lists"},
		"carriage return":      {"a=1\r\nkernel='/a'", "line 1 has the control character"},
		"zero byte":            {"a=1\n# \x00kernel='/a'", "line 2 has the control character"},
		"strange number":       {"a=12zz", "a value must be"},
		"too big":              {strings.Repeat("#", maxConfig+1), "more than"},
	} {
		if f, err := Parse([]byte(tt.text)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v and %v, want %q", name, f, err, tt.want)
		}
	}
}

func TestText(t *testing.T) {
	f, err := Parse([]byte("memory=16\ndisk=['x']\nkernel = '/a' # ours\non_crash='destroy'"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"memory", "disk", "ramdisk"} {
		if s, err := f.Text(name); err == nil {
			t.Errorf("%s is the string %q", name, s)
		}
	}
	if got := f.Has("ramdisk", "memory", "kernel"); strings.Join(got, " ") != "memory kernel" {
		t.Errorf("it has %q", got)
	}
	b, err := f.WithText("kernel", "/c/d")
	if want := "memory=16\ndisk=['x']\nkernel = \"/c/d\" # ours\non_crash='destroy'"; err != nil || string(b) != want {
		t.Errorf("%v\n%s", err, b)
	}
	for _, s := range []string{`a"b`, `a\`, "a\nb"} {
		if b, err := f.WithText("kernel", s); err == nil {
			t.Errorf("took %q:\n%s", s, b)
		}
	}
	if _, err := f.WithText("ramdisk", "/x"); err == nil {
		t.Error("set what was not there")
	}
}

// All that the templates give can be read back.
func TestParseExamples(t *testing.T) {
	files, err := filepath.Glob("../../xl-configs/examples/*.cfg")
	if err != nil || len(files) < 3 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		f, err := Parse(b)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if kind, err := f.Text("type"); err != nil || kind != "pvh" {
			t.Errorf("%s: type %q, %v", name, kind, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"", "kernel = \"/a\"", "a=[1,['x',],\n'y']\nkernel='/b';c=0x10 # z", "kernel='a'\nkernel='b'", "a=[[[[[[[[[[", "kernel='\\''"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := Parse(b)
		if err != nil {
			return
		}
		old, err := file.Text("kernel")
		if err != nil {
			return
		}
		// Another kernel changes the kernel and no other setting.
		b, err = file.WithText("kernel", "/other")
		if err != nil {
			t.Fatal(err)
		}
		other, err := Parse(b)
		if err != nil {
			t.Fatalf("%v in\n%s", err, b)
		}
		if got, err := other.Text("kernel"); err != nil || got != "/other" || len(other.settings) != len(file.settings) {
			t.Fatalf("%q became %q (%v)", old, got, err)
		}
		for name, v := range file.settings {
			if o := other.settings[name]; name != "kernel" && (o.kind != v.kind || o.text != v.text || len(o.list) != len(v.list)) {
				t.Fatalf("%s changed", name)
			}
		}
	})
}
