package stack

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func owned(account string) map[string]any {
	return map[string]any{"StringEquals": map[string]any{"aws:ResourceAccount": account}}
}

// spread lists what rights allow, one line for each action on each resource, and nothing twice.
func spread(policies [][]*right) []string {
	var all []string
	for _, one := range slices.Concat(policies...) {
		for _, action := range one.actions {
			for _, resource := range one.resources {
				all = append(all, fmt.Sprint(action, " ", resource, " ", one.conditions))
			}
		}
	}
	slices.Sort(all)
	return all
}

// TestRights: what is allowed is what was asked for, in one statement for the same actions under the same conditions.
func TestRights(t *testing.T) {
	r := &rights{}
	r.allow(nil, []string{"secretsmanager:GetSecretValue"}, str("a"))
	r.allow(owned("1"), []string{"s3:GetObject"}, str("b/*"))
	r.allow(nil, []string{"secretsmanager:GetSecretValue"}, str("c"), str("a"))
	r.allow(owned("2"), []string{"s3:GetObject"}, str("d/*"))
	r.allow(owned("1"), []string{"s3:GetObject"}, str("e/*"))
	r.allow(owned("1"), []string{"s3:GetObject", "s3:PutObject"}, str("f/*"))
	want := []string{
		"s3:GetObject b/* " + fmt.Sprint(owned("1")), "s3:GetObject d/* " + fmt.Sprint(owned("2")), "s3:GetObject e/* " + fmt.Sprint(owned("1")),
		"s3:GetObject f/* " + fmt.Sprint(owned("1")), "s3:PutObject f/* " + fmt.Sprint(owned("1")),
		"secretsmanager:GetSecretValue a map[]", "secretsmanager:GetSecretValue c map[]",
	}
	if got := spread(r.packed(1 << 20)); !slices.Equal(got, want) || len(r.all) != 4 {
		t.Errorf("%d statements:\n%s", len(r.all), strings.Join(got, "\n"))
	}
}

// TestPacked: whatever a policy may hold, the policies together allow the same, and none is empty or too long.
func TestPacked(t *testing.T) {
	r := &rights{}
	for n := range 150 {
		r.allow(nil, []string{"secretsmanager:GetSecretValue"}, str(fmt.Sprintf("arn:${Token[AWS.Partition.3]}:secretsmanager:${Token[AWS.Region.4]}:${Token[AWS.AccountId.5]}:secret:zipline-%03d-??????", n)))
		r.allow(owned(fmt.Sprintf("%012d", n)), []string{"s3:GetObject"}, str(fmt.Sprintf("arn:aws:s3:::bucket-%03d/prefix/*", n)))
	}
	want := spread(r.packed(1 << 20))
	for _, size := range []int{600, 1000, policySize - policySpare, 10 * policySize} {
		policies := r.packed(size)
		if got := spread(policies); !slices.Equal(got, want) {
			t.Errorf("%d: %d lines, want %d", size, len(got), len(want))
		}
		total := 0
		for _, policy := range policies {
			n := 0
			for _, one := range policy {
				n += one.frame()
				for _, resource := range one.resources {
					n += length(resource) + 3
				}
			}
			if total += n; n == 0 || n > size {
				t.Errorf("%d: a policy of %d", size, n)
			}
		}
		if least := total/size + 1; len(policies) > least+1+least/4 {
			t.Errorf("%d: %d policies, %d would do", size, len(policies), least)
		}
	}
}

// TestLiteral: nothing of a name is a pattern or a variable.
func TestLiteral(t *testing.T) {
	for text, want := range map[string]string{
		"a/b": "a/b", "a*b": "a${*}b", "why?": "why${?}", "x/${AWS::AccountId}": "x/${$}{AWS::AccountId}", "${*}": "${$}{${*}}",
	} {
		if got := literal(text); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}
