//go:build !race

package zipline

// megabytes is the size of the export that TestStreaming reads.
const megabytes = 200
