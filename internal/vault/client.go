package vault

import "github.com/aws/aws-sdk-go-v2/service/s3"

// Client returns the client of the vault's store, for who works on other buckets of it too.
func (v *Vault) Client() *s3.Client { return v.client }

// Fault gives an error of the SDK its kind and says what was being done, as the methods of a Vault do. Where the role of a
// client can't be assumed that is all it says.
func Fault(err error, format string, args ...any) error {
	if refused, ok := RoleFault(err); ok {
		err = refused
	}
	return wrap(err, format, args...)
}
