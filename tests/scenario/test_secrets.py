"""API keys appear in no log, no answer, no error and no store, whatever goes wrong."""


def test_keys_stay_where_they_are(site, model_server):
    quotes = [{"contains": "quoted", "protocol": protocol, "status": 401,
               "error": {"message": f"Incorrect API key provided: {site.keys[name]}"}}
              for protocol, name in (("openai", "OPENAI_API_KEY"),
                                     ("anthropic", "ANTHROPIC_API_KEY"))]
    model_server.rules({"contains": "fine"}, {"contains": "refused", "status": 401}, *quotes,
                       {"contains": "broken", "html": True})
    seen = b""
    for prompt in ("fine", "refused", "quoted", "broken"):
        for config in ("default-smart", "claude-opus"):
            job = site.api.run(prompt, config_name=config, max_attempts=1)
            seen += site.api.get(f"/v1/jobs/{job['job_id']}").body
    for path in ("/v1/jobs", "/v1/llm-configs", "/ready", "/health"):
        seen += site.api.get(path).body
    seen += site.dump() + site.logs().encode()
    for key in site.keys.values():
        assert key.encode() not in seen


def test_passwords_in_urls_stay_out_of_logs(served):
    secret = "hunter2hunter2"
    url = served.postgres.url(served.database).replace("postgres@", f"postgres:{secret}@")
    served.gateway(DATABASE_URL=url)
    worker = served.worker(DATABASE_URL=url, RABBITMQ_URL=f"amqp://guest:{secret}@127.0.0.1:1/",
                           REDIS_URL=f"redis://:{secret}@127.0.0.1:1/0")
    assert served.api.run("x")["status"] == "COMPLETED" and worker.is_running()
    assert secret not in served.logs() and secret not in served.api.get("/ready").body.decode()


def test_a_refused_setting_does_not_print_a_secret(dev):
    done = dev.ctl("dev", DATABASE_URL="postgresql://me:hunter2hunter2@[broken/db")
    assert done.returncode != 0 and "DATABASE_URL" in done.stderr
    assert "hunter2hunter2" not in done.stderr + done.stdout
