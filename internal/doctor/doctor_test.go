package doctor_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"lifeboat/internal/doctor"
	"lifeboat/internal/failure"
)

func TestWorst(t *testing.T) {
	trouble := func(kind failure.Kind) doctor.Finding { return doctor.Finding{Level: doctor.Trouble, Kind: kind} }
	for _, test := range []struct {
		findings []doctor.Finding
		want     failure.Kind
		found    bool
	}{
		{nil, 0, false},
		{[]doctor.Finding{{Level: doctor.OK}, {Level: doctor.Warning, Kind: failure.Corrupt}}, 0, false},
		{[]doctor.Finding{trouble(failure.Transient), trouble(failure.Denied), {Level: doctor.OK}}, failure.Denied, true},
		{[]doctor.Finding{trouble(failure.Usage), trouble(failure.Corrupt), trouble(failure.Denied)}, failure.Corrupt, true},
	} {
		got, found := doctor.Worst(test.findings)
		if got.Kind != test.want || found != test.found {
			t.Errorf("%v: got %v, %v", test.findings, got.Kind, found)
		}
	}
	for _, kind := range failure.Kinds() {
		if _, found := doctor.Worst([]doctor.Finding{trouble(kind)}); !found {
			t.Errorf("trouble of kind %q has no rank", kind)
		}
	}
}

// TestExamineGoesOn shows that one check's trouble keeps no other from being made.
func TestExamineGoesOn(t *testing.T) {
	var checks []string
	doctor.Examine(t.Context(), doctor.Patient{
		Now: time.Now,
		Sources: []doctor.Source{
			{Name: "a", Err: failure.New(failure.Usage, "no token").WithHint("set it")},
			{Name: "b", Probe: func(context.Context) (string, error) { return "", failure.New(failure.Denied, "no") }},
			{Name: "c", Probe: func(context.Context) (string, error) { return "fine", nil }},
		},
		Targets: []doctor.Target{
			{Name: "a", Err: failure.New(failure.Usage, "no token"), Place: func(context.Context) (string, string, error) { return "writable", "", nil }},
			{
				Name: "b", Probe: func(context.Context) (string, error) { return "fine", nil },
				Place: func(context.Context) (string, string, error) { return "not there", "make it", nil },
			},
			{Name: "c", Place: func(context.Context) (string, string, error) {
				return "", "", failure.New(failure.Denied, "no").WithHint("allow it")
			}},
		},
		VaultErr: failure.New(failure.Transient, "no answer"),
		Greet:    func(context.Context) error { return nil },
	}, func(f doctor.Finding) {
		checks = append(checks, f.Check+" "+f.Subject+" "+string(f.Level)+" "+f.Hint)
	})
	want := []string{
		"source a trouble set it", "source b trouble ", "source c ok ",
		"target a trouble ", "target a ok ", "target b ok ", "target b warning make it", "target c trouble allow it", "vault  trouble ", "mail  ok ",
	}
	if !slices.Equal(checks, want) {
		t.Errorf("%q, want %q", checks, want)
	}
}
