// Package workflow embeds the definitions of the workflows: the same bytes go to AWS Step Functions and to the
// embedded runner.
package workflow

import _ "embed"

// Backup is the definition of the backup workflow, in the Amazon States Language (JSONPath).
//
//go:embed backup.asl.json
var Backup []byte

// BackupFunctions names the function behind each placeholder of Backup.
var BackupFunctions = map[string]string{
	"ExportFunctionArn":  "export",
	"CopyFunctionArn":    "copy",
	"PackageFunctionArn": "package",
	"NotifyFunctionArn":  "notify",
}

// Restore is the definition of the restore workflow.
//
//go:embed restore.asl.json
var Restore []byte

// RestoreFunctions names the function behind each placeholder of Restore.
var RestoreFunctions = map[string]string{
	"RestoreFunctionArn": "restore",
	"NotifyFunctionArn":  "notify",
}
