//! The ARNs that follow from a function's own: its table, its queue, its secret are where it is. Asks nobody.

use super::functions::Deployed;

/// Partition, region and account of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    partition: String,
    region: String,
    account: String,
}

impl Place {
    /// `None` if it is no ARN.
    pub fn of(arn: &str) -> Option<Self> {
        let parts = arn.split(':').collect::<Vec<_>>();
        let ["arn", partition, _, region, account, ..] = parts[..] else { return None };
        let [partition, region, account] = [partition, region, account].map(str::to_owned);
        Some(Self { partition, region, account })
    }

    fn arn(&self, service: &str, rest: &str) -> String {
        format!("arn:{}:{service}:{}:{}:{rest}", self.partition, self.region, self.account)
    }

    pub fn table(&self, name: &str) -> String {
        self.arn("dynamodb", &format!("table/{name}"))
    }

    /// A queue's URL ends with account and name.
    pub fn queue(&self, url: &str) -> Option<String> {
        let mut ends = url.trim_end_matches('/').rsplit('/');
        let (name, account) = (ends.next()?, ends.next()?);
        Some(format!("arn:{}:sqs:{}:{account}:{name}", self.partition, self.region))
    }

    /// An id that is only a name stands for an ARN with six random characters behind it.
    pub fn secret(&self, id: &str) -> String {
        if id.starts_with("arn:") {
            id.to_owned()
        } else {
            self.arn("secretsmanager", &format!("secret:{id}-??????"))
        }
    }

    pub fn bus(&self, bus: &str) -> String {
        if bus.starts_with("arn:") { bus.to_owned() } else { self.arn("events", &format!("event-bus/{bus}")) }
    }

    /// One object that the report could write: the template lets it write below `reports/` only.
    pub fn report_object(&self, bucket: &str) -> String {
        format!("arn:{}:s3:::{bucket}/reports/doctor", self.partition)
    }

    /// As `kms:ViaService` names DynamoDB where this function is.
    pub fn dynamodb_for_keys(&self) -> String {
        let suffix = if self.partition == "aws-cn" { "amazonaws.com.cn" } else { "amazonaws.com" };
        format!("dynamodb.{}.{suffix}", self.region)
    }
}

/// The name of the role in a role's ARN, or in that of a session of it.
pub fn role_name(arn: &str) -> Option<&str> {
    let rest = arn.splitn(6, ':').nth(5)?;
    match rest.strip_prefix("role/") {
        Some(path) => path.rsplit('/').next(),
        None => rest.strip_prefix("assumed-role/")?.split('/').next(),
    }
}

/// Whether this machine acts as the function does.
pub fn is_role_of(identity: &str, function: &Deployed) -> bool {
    let account = |arn: &str| arn.split(':').nth(4).map(str::to_owned);
    role_name(identity).is_some()
        && role_name(identity) == role_name(&function.role)
        && account(identity) == account(&function.role)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_function_uses_is_named_from_its_own_arn() {
        let place = Place::of("arn:aws-us-gov:lambda:us-gov-west-1:111122223333:function:worker").unwrap();
        assert_eq!(place.table("t"), "arn:aws-us-gov:dynamodb:us-gov-west-1:111122223333:table/t");
        let queue = place.queue("https://sqs.us-gov-west-1.amazonaws.com/444455556666/q");
        assert_eq!(queue.as_deref(), Some("arn:aws-us-gov:sqs:us-gov-west-1:444455556666:q"));
        assert!(place.secret("regrant/graph").ends_with(":111122223333:secret:regrant/graph-??????"));
        assert_eq!(place.secret("arn:aws:x"), "arn:aws:x");
        assert_eq!(Place::of("worker"), None);
    }

    #[test]
    fn object_asked_about_lies_where_the_template_lets_the_report_write() {
        let template = include_str!("../../../../template.yaml");
        let pattern =
            template.lines().find_map(|line| line.trim().strip_prefix("- arn:${AWS::Partition}:s3:::"));
        let below = pattern.unwrap().replace("${Bucket}", "a-bucket");
        let below = below.strip_suffix('*').expect("a pattern");
        let place = Place::of("arn:aws:lambda:eu-west-1:111122223333:function:report").unwrap();
        assert!(place.report_object("a-bucket").starts_with(&format!("arn:aws:s3:::{below}")));
    }

    #[test]
    fn keys_know_dynamodb_by_the_suffix_of_the_partition() {
        let via = |arn: &str| Place::of(arn).unwrap().dynamodb_for_keys();
        assert_eq!(via("arn:aws:lambda:eu-west-1:1:function:f"), "dynamodb.eu-west-1.amazonaws.com");
        assert_eq!(
            via("arn:aws-us-gov:lambda:us-gov-west-1:1:function:f"),
            "dynamodb.us-gov-west-1.amazonaws.com"
        );
        assert_eq!(via("arn:aws-cn:lambda:cn-north-1:1:function:f"), "dynamodb.cn-north-1.amazonaws.com.cn");
    }

    #[test]
    fn session_of_a_role_is_known_by_the_roles_name() {
        assert_eq!(role_name("arn:aws:iam::111122223333:role/service/Worker"), Some("Worker"));
        assert_eq!(role_name("arn:aws:sts::111122223333:assumed-role/Worker/me"), Some("Worker"));
        assert_eq!(role_name("arn:aws:iam::111122223333:user/someone"), None);
    }
}
