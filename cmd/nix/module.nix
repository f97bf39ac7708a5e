# services.berth: the spec of this host, applied at boot and looked at by a timer.
{ config, lib, pkgs, ... }:

let
  cfg = config.services.berth;
  environment = lib.filterAttrs (_: v: v != null) {
    BERTH_SPEC = toString cfg.spec;
    BERTH_GIT = cfg.git;
    BERTH_GIT_OWNER = cfg.gitOwner;
    BERTH_HOST = cfg.host;
    BERTH_METRICS = cfg.metrics;
  };
in
{
  options.services.berth = {
    enable = lib.mkEnableOption "berth, which keeps bridges, NAT and containers as a spec has them";
    package = lib.mkOption {
      type = lib.types.package;
      default = pkgs.callPackage ./package.nix { };
      defaultText = lib.literalExpression "pkgs.callPackage ./package.nix { }";
      description = "The berth to run.";
    };
    spec = lib.mkOption {
      type = lib.types.either lib.types.path lib.types.str;
      default = "/etc/berth/berth.yaml";
      example = "refs/heads/main:berth.json";
      description = "The spec: a file, or REV:path with `git`.";
    };
    git = lib.mkOption {
      type = lib.types.nullOr lib.types.str;
      default = null;
      example = "/srv/git/infra.git";
      description = "The repository of a spec that is REV:path.";
    };
    gitOwner = lib.mkOption {
      type = lib.types.nullOr lib.types.str;
      default = null;
      description = "Who may own that repository, beside root.";
    };
    host = lib.mkOption {
      type = lib.types.nullOr lib.types.str;
      default = null;
      description = "Which host of the spec this machine is; else its host name says it.";
    };
    metrics = lib.mkOption {
      type = lib.types.nullOr lib.types.path;
      default = null;
      description = "A file for node_exporter's textfile collector.";
    };
    timer = lib.mkOption {
      type = lib.types.nullOr lib.types.str;
      default = "5min";
      description = "How long after one look the next follows; null: only at boot, and when called.";
    };
  };

  config = lib.mkIf cfg.enable {
    # container@.service is there only where this says so: imperative containers do not imply it.
    boot.enableContainers = true;
    # Links of ours are nobody else's business.
    networking.networkmanager.unmanaged = [ "interface-name:vb-*" ];
    environment.systemPackages = [ cfg.package ];

    systemd.services.berth = {
      description = "Bridge, NAT and containers as the spec has them";
      wantedBy = [ "multi-user.target" ];
      # No `before`: berth waits for the units of the containers that it starts.
      after = [ "network-pre.target" "systemd-sysctl.service" "nftables.service" "firewall.service" "dbus.socket" ];
      wants = [ "network-pre.target" ];
      path = [ config.nix.package pkgs.git pkgs.systemd ];
      inherit environment;
      startLimitIntervalSec = 0;
      serviceConfig = {
        Type = "notify";
        ExecStart = "${cfg.package}/bin/berth apply --boot --quiet";
        TimeoutStartSec = "1h";         # a new revision is built first
        UMask = "0022";
      };
      # A switch of the host does not start containers anew; berth looks again by itself.
      restartIfChanged = false;
    };

    # A push to `git` by a user without root says "look now" by writing a file there; `berth hook install --apply` writes the hooks.
    systemd.paths.berth-look = lib.mkIf (cfg.git != null) {
      description = "Somebody has pushed a spec";
      wantedBy = [ "multi-user.target" ];
      pathConfig.PathChanged = "${builtins.replaceStrings [ "%" ] [ "%%" ] (lib.removeSuffix "/" (toString cfg.git))}/berth-look";
    };
    systemd.services.berth-look = lib.mkIf (cfg.git != null) {
      description = "Apply the spec that was pushed";
      path = [ config.nix.package pkgs.git pkgs.systemd ];
      inherit environment;
      startLimitIntervalSec = 0;
      serviceConfig = {
        Type = "oneshot";
        ExecStart = "${cfg.package}/bin/berth hook look";
        TimeoutStartSec = "1h";
        UMask = "0022";
      };
      restartIfChanged = false;
    };

    systemd.timers.berth = lib.mkIf (cfg.timer != null) {
      wantedBy = [ "timers.target" ];
      timerConfig = {
        OnBootSec = "90s";
        OnUnitInactiveSec = cfg.timer;
        RandomizedDelaySec = "30s";
      };
    };
  };
}
