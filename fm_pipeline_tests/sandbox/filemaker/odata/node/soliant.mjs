// The main jobs of fm-odata-client. Prints what each gave, as one JSON object.
import {BasicAuth, Connection} from "fm-odata-client";

const {host, database, password, jpeg} = process.env;
const connection = new Connection(host, new BasicAuth("admin", password), {disableSsl: true});
const file = connection.database(database);
const contacts = file.table("contacts");
const visits = file.table("visits");
const patients = file.table("Patients");
const own = (row) => Object.fromEntries(Object.entries(row).filter(([name]) => !name.startsWith("@")));
const failure = async (job) => {
    try {
        return await job();
    } catch (error) {
        return [error.statusCode, error.errorCode];
    }
};
const picture = Buffer.from(jpeg, "base64");

const done = {
    databases: (await connection.listDatabases()).some((one) => one.name === database),
    tables: (await file.listTables()).some((one) => one.name === "API_Patients"),
    metadata: (await file.getMetadata())["contacts_"].$Key,
    list: (await patients.query({select: ["id"], orderBy: {field: "name", direction: "desc"}, top: 2, skip: 1})).map(own),
    counted: await patients.query({filter: "name eq 'Ada Adams' or weight gt 20", select: ["id"], count: true}),
    count: await patients.count("weight gt 20"),
    key: own(await visits.fetchById(2)),
    apostrophe: (await contacts.fetchById("O'B/1"))["First Name"],
    missing: await contacts.fetchById("nobody"),
    one: await patients.fetchOne({filter: "id eq 'nobody'"}),
    related: (await contacts.query({relatedTable: {primaryKey: "O'B/1", table: "contact_visits"}})).map((row) => row.number),
    created: own(await contacts.create({id: "C3", "First Name": "Mary"})),
    updated: own(await contacts.update("C3", {"First Name": "Maria"})),
    script: await file.runScript("Greet", "Ada"),
    noScript: await failure(() => file.runScript("Nothing")),
    wrongField: await failure(() => patients.query({select: ["nothing"]})),
};
done.counted = {count: done.counted.count, rows: done.counted.rows.map((row) => row.id)};
await contacts.uploadBinary("C3", "photo", picture);
const got = await contacts.fetchFieldBlob("C3", "photo");
done.container = [got.type, got.buffer.equals(picture)];
done.field = await contacts.fetchFieldValue("C3", "First%20Name");
await visits.updateMany("number gt 1", {contact: "C3"});
done.many = await visits.count("contact eq 'C3'");
await visits.deleteMany("number eq 3");
await contacts.delete("C3");
done.left = [await visits.count(), await contacts.count()];
console.log(JSON.stringify(done));
