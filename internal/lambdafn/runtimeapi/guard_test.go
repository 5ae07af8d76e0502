package runtimeapi_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"lifeboat/internal/lambdafn/runtimeapi"
)

// TestGuardHidesLocks: who may read an object need not know until when it is locked, and is not refused.
func TestGuardHidesLocks(t *testing.T) {
	store := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Amz-Object-Lock-Mode", "GOVERNANCE")
		w.Header().Set("X-Amz-Object-Lock-Retain-Until-Date", "2027-01-01T00:00:00Z")
	}))
	defer store.Close()
	for _, sees := range []bool{false, true} {
		guard, err := runtimeapi.NewGuard(store.URL, http.DefaultTransport, func(action, _, _ string) bool {
			return action == "s3:GetObject" || sees && action == "s3:GetObjectRetention"
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, method := range []string{http.MethodHead, http.MethodGet} {
			w := httptest.NewRecorder()
			guard.ServeHTTP(w, httptest.NewRequest(method, "/vault/packs/photos/aa/a", nil))
			mode, until := w.Header().Get("X-Amz-Object-Lock-Mode"), w.Header().Get("X-Amz-Object-Lock-Retain-Until-Date")
			if w.Code != http.StatusOK || (mode != "") != sees || (until != "") != sees {
				t.Errorf("%s, sees %v: %d, %q until %q", method, sees, w.Code, mode, until)
			}
		}
		asked := guard.Used("s3:GetObjectRetention", "vault", func(string) bool { return true })
		if len(guard.Refused()) > 0 || asked != sees {
			t.Errorf("sees %v: asked %v, refused %v", sees, asked, guard.Refused())
		}
	}
}
