// The page's wiring: who tells whom. Reads from top to bottom; everything that decides lives in the modules.

import * as access from "./access.js";
import { status } from "./announce.js";
import { Collections } from "./collections.js";
import { Composer } from "./composer.js";
import { Connection } from "./connection.js";
import { Conversation } from "./conversation.js";
import { Documents } from "./documents.js";
import { byId } from "./dom.js";
import { Filters } from "./filters.js";
import { History } from "./history.js";
import { startTabs, startLibraryButton } from "./tabs.js";
import * as theme from "./theme.js";
import { Totals } from "./totals.js";
import { errorWords } from "./words.js";

const filters = new Filters();
const totals = new Totals(byId("totals"));
const library = startLibraryButton(byId("open-library"));

const only = (documentId, collection) => {
  if (collection !== collections.current) collections.choose(collection);
  filters.only(documentId);
  library.close();
  composer.focus();
  status(`Only ${documentId} will be asked.`);
};

const documents = new Documents(byId("panel-documents"), {
  collection: () => collections.current,
  onOnly: only,
  onChanged: () => refresh(),
});

const collections = new Collections(byId("collection"), {
  onChosen: () => filters.everyDocument(), // an id names another document there, or none
  onChange: (collection) => {
    filters.setFields(collection?.fields ?? {});
    documents.load();
  },
});

const history = new History(byId("panel-history"), (entry) => {
  if (entry.collection && entry.collection !== collections.current) collections.choose(entry.collection);
  composer.reuse(entry);
  library.close();
});

const connection = new Connection(byId("connection"), () => refresh());

const conversation = new Conversation({
  onOnly: only,
  onAsked: (ask) => {
    history.add(ask);
    totals.asked();
  },
  onCompleted: (started, completed) => totals.completed(started, completed),
  onFailed: (error) => {
    if (error.reason === "NETWORK" || error.reason === "BROKEN") connection.check();
  },
});

const composer = new Composer({ filters, conversation, collection: () => collections.current });

async function refresh() {
  try {
    await collections.load();
  } catch (error) {
    status(errorWords(error)[0]);
    documents.load(); // shows the same failure where the documents would be
  }
}

theme.start(byId("theme"));
access.start(byId("open-access"), () => refresh());
startTabs(byId("tab-documents"), byId("tab-history"));
refresh();
