// The main jobs of @proofkit/fmodata. Prints what each gave, as one JSON object.
import {
    FMServerConnection, containerField, desc, eq, fmTableOccurrence, gt, numberField, or, textField,
} from "@proofkit/fmodata";

const {url, database, password, jpeg} = process.env;
const connection = new FMServerConnection({serverUrl: url, auth: {username: "admin", password}});
const patients = fmTableOccurrence("Patients", {id: textField(), name: textField(), weight: numberField()});
const visits = fmTableOccurrence("visits", {number: numberField().primaryKey(), contact: textField()});
const contactVisits = fmTableOccurrence("contact_visits", {number: numberField().primaryKey(), contact: textField()});
const contacts = fmTableOccurrence(
    "contacts",
    {id: textField(), "First Name": textField(), photo: containerField()},
    {navigationPaths: ["contact_visits"]},
);
const db = connection.database(database);
const run = async (query) => {
    const {data, error} = await query.execute();
    if (error) {
        throw error;
    }
    return data;
};
const failure = async (query) => {
    const {error} = await query.execute();
    return error?.code;
};

const done = {
    databases: (await connection.listDatabaseNames()).includes(database),
    tables: (await db.listTableNames()).includes("API_Patients"),
    metadata: (await db.getMetadata({tableName: "contacts"}))["contacts_"].$Key,
    list: await run(db.from(patients).list().select({id: patients.id}).orderBy(desc(patients.name)).top(2).skip(1)),
    filtered: await run(
        db.from(patients).list().select({id: patients.id}).where(or(eq(patients.name, "Ada Adams"), gt(patients.weight, 20))),
    ),
    count: await run(db.from(patients).count()),
    key: await run(db.from(visits).get(2)),
    rowId: await run(db.from(visits).get({ROWID: 3})),
    apostrophe: await run(db.from(contacts).get("O'B/1").getSingleField(contacts["First Name"])),
    container: (await run(db.from(contacts).get("O'B/1").getSingleField(contacts.photo))) === jpeg,
    missing: await failure(db.from(contacts).get("nobody")),
    related: await run(db.from(contacts).get("O'B/1").navigate(contactVisits).select({number: contactVisits.number})),
    expanded: await run(
        db.from(contacts).list().select({id: contacts.id}).expand(contactVisits, (q) => q.select({number: contactVisits.number}).top(2)),
    ),
    created: await run(db.from(contacts).insert({id: "C3", "First Name": "Mary"})),
    updated: await run(db.from(contacts).update({"First Name": "Maria"}).byId("C3")),
    many: await run(db.from(visits).update({contact: "C3"}).where((q) => q.where(gt(visits.number, 1)))),
    deletedMany: await run(db.from(visits).delete().where((q) => q.where(eq(visits.number, 3)))),
    deleted: await run(db.from(contacts).delete().byId("C3")),
    script: await db.runScript("Greet", {scriptParam: "Ada"}),
};
console.log(JSON.stringify(done));
