// redlock-universal.cjs - redlock-universal of npm, as its README has it: its default
// settings, but the lease of the others and so many retries that they do not end.
"use strict";

const { drive, need } = require("./driver.cjs");
const { createRedlock, IoredisAdapter } = need("redlock-universal");

drive((clients) => {
	const adapters = clients.map((client) => new IoredisAdapter(client));
	return {
		async lock(key) {
			const lock = createRedlock({ adapters, key, ttl: 10000, retryAttempts: 1000000 });
			return { lock, handle: await lock.acquire() };
		},
		unlock: ({ lock, handle }) => lock.release(handle),
	};
});
