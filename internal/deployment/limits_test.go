package deployment_test

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"lifeboat/internal/failure"
)

// lines returns a line for each of n numbers, which stand in the place of NNN.
func lines(n int, format string) string {
	var all strings.Builder
	for i := range n {
		all.WriteString(strings.ReplaceAll(format, "NNN", fmt.Sprintf("%03d", i)) + "\n")
	}
	return all.String()
}

var fitting = regexp.MustCompile(`the first (\d+) sources fit`)

// TestTooMany: what one stack can't have is refused by name before anything is synthesized; as many sources as are said to
// fit do fit, and one more does not.
func TestTooMany(t *testing.T) {
	const (
		zipline = "  sNNN: {kind: zipline, url: \"https://sNNN.example.com\", token: \"secretsmanager:zipline-NNN\", datasource: s3://example-sNNN/uploads}"
		owned   = "  sNNN: {kind: files, path: {s3: \"s3://example-sNNN/uploads\", owner: \"111122223NNN\"}}"
		remote  = "  sNNN: {kind: files, path: {s3: s3://sNNN, endpoint: https://store.example.org, region: eu-north-1, access-key: ssm:/a, secret-key: ssm:/s}}"
		role    = "  sNNN: {kind: files, path: {s3: s3://sNNN, role: \"arn:aws:iam::444455556666:role/r\"}}"
		daily   = "    sNNN: {cron: \"0 4 * * ? *\"}"
		keyed   = "    sNNN: {cron: \"0 4 * * ? *\", kms-key: \"arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-555555555NNN\"}"
		asked   = "    sNNN: {}"
		drills  = "    aNNN: {source: sNNN, cron: \"0 6 ? * SUN *\"}\n    bNNN: {source: sNNN, cron: \"0 6 ? * MON *\"}\n    cNNN: {source: sNNN, cron: \"0 6 ? * TUE *\"}"
	)
	for name, c := range map[string]struct {
		sources, targets   int
		source, when, more string
		want               []string // none where it fits
	}{
		"some":                    {100, 0, zipline, daily, "", nil},
		"some of several owners":  {60, 0, owned, keyed, "", nil},
		"resources":               {220, 0, remote, daily, "", []string{"220 of them, 0 targets and 0 drills", "resources (CloudFormation takes 500)"}},
		"outputs":                 {95, 95, role, asked, "", []string{"95 of them, 95 targets", "204 outputs (CloudFormation takes 200)"}},
		"bytes":                   {250, 0, zipline, daily, "", []string{"bytes of template (CloudFormation takes 1000000)"}},
		"policies":                {300, 0, owned, keyed, "", []string{"managed policies at the role of export (IAM takes 10)", "at the role of copy"}},
		"drills":                  {90, 0, zipline, daily, drills, []string{"90 of them, 0 targets and 270 drills", "resources (CloudFormation"}},
		"targets, and one source": {1, 199, zipline, daily, "", []string{"not even the first source fits beside the targets", "outputs"}},
	} {
		t.Run(name, func(t *testing.T) {
			of := func(sources int) error {
				text := "vault: ./v\nsources:\n" + lines(sources, c.source)
				if c.targets > 0 {
					text += "targets:\n" + lines(c.targets, "  tNNN: {kind: files, path: s3://example-tNNN}")
				}
				text += "deploy:\n  sources:\n" + lines(sources, c.when)
				if c.more != "" {
					text += "  drills:\n" + lines(sources, c.more)
				}
				_, err := parse(t, text)
				return err
			}
			err := of(c.sources)
			if c.want == nil {
				if err != nil {
					t.Error(err)
				}
				return
			}
			for _, want := range append(c.want, "lifeboat.yaml:2: sources: ", "hint: make several files of it") {
				if failure.KindOf(err) != failure.Usage || !strings.Contains(err.Error(), want) {
					t.Errorf("%q is missing in: %v", want, err)
				}
			}
			if m := fitting.FindStringSubmatch(err.Error()); m != nil {
				n, _ := strconv.Atoi(m[1])
				t.Log(err)
				if fits, not := of(n), of(n+1); fits != nil || not == nil {
					t.Errorf("%d are said to fit: %v; and one more: %v", n, fits, not)
				}
			}
		})
	}
}
