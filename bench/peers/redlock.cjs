// redlock.cjs - redlock of npm, as its README has it: its default settings, but retries
// without an end.
"use strict";

const { drive, need } = require("./driver.cjs");
const { default: Redlock } = need("redlock");

drive((clients) => {
	const redlock = new Redlock(clients, { retryCount: -1 });
	// Told for every master that has the lock for another: no error here.
	redlock.on("error", () => {});
	return {
		lock: (name) => redlock.acquire([name], 10000),
		unlock: (lock) => lock.release(),
	};
});
