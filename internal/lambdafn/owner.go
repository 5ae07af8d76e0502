package lambdafn

import (
	"context"
	"reflect"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"
)

// owned returns a client that names, in every request to the vault's bucket, the account that must own it: a bucket of
// the same name in somebody else's account answers 403. Where no owner is named it is the client itself. Such a client
// must not presign: a browser would not send the header.
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

// setOwner sets ExpectedBucketOwner of an input for the bucket. All of the SDK's inputs that have a bucket have it.
func setOwner(input any, bucket, owner string) {
	fields := reflect.ValueOf(input)
	if fields.Kind() != reflect.Pointer || fields.Elem().Kind() != reflect.Struct {
		return
	}
	asked, expected := fields.Elem().FieldByName("Bucket"), fields.Elem().FieldByName("ExpectedBucketOwner")
	if !asked.IsValid() || !expected.IsValid() {
		return
	}
	name, ok := asked.Interface().(*string)
	if ok && name != nil && *name == bucket && expected.CanSet() && expected.Type() == reflect.TypeFor[*string]() {
		expected.Set(reflect.ValueOf(&owner))
	}
}
