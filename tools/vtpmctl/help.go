package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// runCompletion prints a completion script; the words are this program's own.
func runCompletion(e *env, args []string) error {
	rest, err := e.parse(args, 1, nil)
	if err != nil {
		return err
	}
	if rest[0] != "bash" {
		return errUsage
	}
	var first []string
	second := map[string][]string{}
	flags := ""
	for _, c := range commands() {
		a, b, two := strings.Cut(c.name, " ")
		if !slices.Contains(first, a) {
			first = append(first, a)
		}
		pattern := a + ":*"
		if two {
			second[a] = append(second[a], b)
			pattern = a + ":" + b
		}
		words := append(flagWords.FindAllString(c.args, -1), "--json", "--device")
		flags += fmt.Sprintf("\t\t%s) words='%s';;\n", pattern, strings.Join(words, " "))
	}
	fmt.Fprintf(e.out, "# bash completion for vtpmctl; install as vtpmctl in the completions folder\n_vtpmctl() {\n"+
		"\tlocal cur=${COMP_WORDS[COMP_CWORD]} words=\n\tcase \"$COMP_CWORD:${COMP_WORDS[1]}\" in\n"+
		"\t1:*) COMPREPLY=($(compgen -W '%s' -- \"$cur\")); return;;\n", strings.Join(first, " "))
	for _, a := range first {
		if len(second[a]) > 0 {
			fmt.Fprintf(e.out, "\t2:%s) COMPREPLY=($(compgen -W '%s' -- \"$cur\")); return;;\n", a, strings.Join(second[a], " "))
		}
	}
	fmt.Fprintf(e.out, "\tesac\n\tcase \"${COMP_WORDS[1]}:${COMP_WORDS[2]}\" in\n%s\tesac\n"+
		"\tCOMPREPLY=($(compgen -W \"$words\" -- \"$cur\") $(compgen -f -- \"$cur\"))\n}\ncomplete -F _vtpmctl vtpmctl\n", flags)
	return nil
}

var flagWords = regexp.MustCompile("--[a-z-]+")

// runMan prints the manual page.
func runMan(e *env, args []string) error {
	if _, err := e.parse(args, 0, nil); err != nil {
		return err
	}
	esc := strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace
	fmt.Fprintf(e.out, ".TH VTPMCTL 8\n.SH NAME\nvtpmctl \\- administer the Xen vTPM manager\n.SH SYNOPSIS\n.B vtpmctl\n.I COMMAND\n[\\-\\-json] [\\-\\-device /dev/tpmN] ...\n"+
		".SH DESCRIPTION\nRuns in domain 0 and speaks to the manager domain through domain 0's own vTPM device, which\n.B xl vtpm\\-attach 0 backend=vtpmmgr uuid=...\nattaches. No daemon is needed.\n.PP\n.B vtpmctl start\nneeds no manager. It reads the kernel= of each configuration, verifies that image with all of its folder\nby the policy in /etc/xenvtpm/trust, and runs\n.B xl create\nonly when every image is accepted.\n.SH COMMANDS\n")
	for _, c := range commands() {
		fmt.Fprintf(e.out, ".TP\n.B %s\n%s\n.br\n%s\n", esc(c.name), esc(c.args), esc(c.help))
	}
	fmt.Fprint(e.out, ".SH EXIT STATUS\n0 done; 1 the manager refused, an image was refused, or a check failed; 2 wrong use, or it could not be done\n.SH SEE ALSO\nxl(1), docs/operations.md, docs/manager\\-protocol.md\n")
	return nil
}
