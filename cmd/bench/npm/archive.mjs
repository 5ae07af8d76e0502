// Streams every object of one bucket into a ZIP in another: node archive.mjs FROM TO KEY. The usual way with archiver.
import { PassThrough } from "node:stream";
import { once } from "node:events";
import { GetObjectCommand, S3Client, paginateListObjectsV2 } from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import archiver from "archiver";

const [from, to, key] = process.argv.slice(2);
const client = new S3Client({ forcePathStyle: true });
const body = new PassThrough();
const archive = archiver("zip", { store: true });
archive.on("error", (error) => body.destroy(error));
archive.pipe(body);
const upload = new Upload({ client, params: { Bucket: to, Key: key, Body: body }, partSize: 8 << 20, queueSize: 4 }).done();

for await (const page of paginateListObjectsV2({ client }, { Bucket: from })) {
  for (const object of page.Contents ?? []) {
    const { Body } = await client.send(new GetObjectCommand({ Bucket: from, Key: object.Key }));
    archive.append(Body, { name: object.Key, date: object.LastModified });
    await once(archive, "entry");
  }
}
await archive.finalize();
await upload;
