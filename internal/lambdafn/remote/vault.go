package remote

import (
	"context"
	"reflect"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"

	"lifeboat/internal/vault"
)

// Vault returns the vault of a stack, whose requests all name the account that must own its bucket; "" for any. What it
// presigns names none: a browser would not send the header.
func Vault(client *s3.Client, bucket, account string) *vault.Vault {
	v := vault.New(owned(client, bucket, account), bucket, nil)
	v.PresignWith(client)
	v.OwnedBy(account)
	return v
}

// owned returns a client that names, in every request to the vault's bucket, the account that must own it: a bucket of
// the same name in somebody else's account answers 403. Where no owner is named it is the client itself. Such a client
// must not presign, since a browser would not send the header: see vault.PresignWith.
func owned(client *s3.Client, bucket, owner string) *s3.Client {
	if owner == "" {
		return client
	}
	name := middleware.InitializeMiddlewareFunc("LifeboatOwner", func(
		ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler,
	) (middleware.InitializeOutput, middleware.Metadata, error) {
		setOwner(in.Parameters, bucket, owner)
		return next.HandleInitialize(ctx, in)
	})
	return s3.New(client.Options(), func(o *s3.Options) {
		o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error { return stack.Initialize.Add(name, middleware.Before) })
	})
}

// setOwner sets ExpectedBucketOwner of an input for the bucket, and ExpectedSourceBucketOwner where it copies from there.
// All of the SDK's inputs that have a bucket have the one, and all that copy the other.
func setOwner(input any, bucket, owner string) {
	fields := reflect.ValueOf(input)
	if fields.Kind() != reflect.Pointer || fields.Elem().Kind() != reflect.Struct {
		return
	}
	name := func(field string) string {
		value := fields.Elem().FieldByName(field)
		if !value.IsValid() {
			return ""
		}
		text, _ := value.Interface().(*string)
		return aws.ToString(text)
	}
	set := func(field string) {
		expected := fields.Elem().FieldByName(field)
		if expected.IsValid() && expected.CanSet() && expected.Type() == reflect.TypeFor[*string]() {
			expected.Set(reflect.ValueOf(&owner))
		}
	}
	if name("Bucket") == bucket {
		set("ExpectedBucketOwner")
	}
	if from, _, _ := strings.Cut(strings.TrimPrefix(name("CopySource"), "/"), "/"); from == bucket {
		set("ExpectedSourceBucketOwner")
	}
}
